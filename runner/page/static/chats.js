// The list of conversations that this browser keeps.

import { confirmed } from "/page/dialogs.js";
import { find, h, keyed, say } from "/page/dom.js";
import { load, remove, titles } from "/page/storage.js";

let on = null;
let fill = null;

/** `open(conversation)`, `fresh()`, `isCurrent(id)` and `stopped()`, which ends an answer and keeps it, are the chat's. */
export function startChats(acts) {
  on = acts;
  fill = keyed(find("chat-list"), (row) => row.id, make);
  find("new-chat").addEventListener("click", () => {
    close();
    on.fresh();
  });
  find("chats-toggle").addEventListener("click", () => toggle(!find("chats").classList.contains("open")));
  find("chat").addEventListener("keydown", (event) => {
    if (event.key === "Escape" && find("chats").classList.contains("open")) {
      event.stopPropagation();
      close();
      find("chats-toggle").focus();
    }
  });
}

function toggle(isOpen) {
  find("chats").classList.toggle("open", isOpen);
  find("chats-toggle").setAttribute("aria-expanded", String(isOpen));
  if (isOpen) find("new-chat").focus();
}

const close = () => toggle(false);

/** Shows what is kept now. */
export async function refresh() {
  const rows = await titles().catch(() => null);
  if (!rows) return;
  find("chats-hint").hidden = rows.length > 0;
  fill(rows);
}

function make(row) {
  const opener = h("button", { type: "button", class: "title" });
  const remover = h("button", { type: "button", class: "quiet icon", textContent: "×" });
  opener.addEventListener("click", async () => {
    close();
    if (on.isCurrent(row.id)) return find("prompt").focus(); // which may be getting an answer
    await on.stopped();
    const found = await load(row.id);
    if (found) on.open(found);
    else refresh();
  });
  remover.addEventListener("click", async () => {
    if (!(await confirmed("Delete this chat?", row.title, "Delete"))) return;
    if (on.isCurrent(row.id)) await on.stopped();
    await remove(row.id);
    if (on.isCurrent(row.id)) on.fresh();
    else refresh();
  });
  const element = h("li", {}, opener, remover);
  const update = (latest) => {
    say(opener, latest.title || "New chat");
    opener.title = latest.title;
    remover.setAttribute("aria-label", `Delete ${latest.title}`);
    if (on.isCurrent(latest.id)) opener.setAttribute("aria-current", "true");
    else opener.removeAttribute("aria-current");
  };
  return { element, update };
}
