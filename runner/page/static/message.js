// One message of a conversation as it is shown: words, pictures, thoughts, figures, and what can be done with it.

import { announce, copyFrom, h, problem } from "/page/dom.js";
import { count, duration, plural, rate, short } from "/page/format.js";
import { source } from "/page/images.js";
import { Growing } from "/page/markdown.js";

/** What somebody asked. `act.edit(text)` sends it anew. */
export function question(message, act) {
  const words = h("p", { class: "plain", textContent: message.content });
  const pictures = (message.images ?? []).map((image) => h("img", { src: source(image), alt: image.name }));
  const bubble = h("div", { class: "bubble" }, pictures.length ? h("div", { class: "pictures" }, pictures) : null, words);
  const copying = h("button", { type: "button", class: "quiet small", textContent: "Copy" });
  copying.addEventListener("click", () => copyFrom(copying, message.content));
  const editing = h("button", { type: "button", class: "quiet small", textContent: "Edit" });
  const row = h("div", { class: "acts" }, copying, editing);
  const element = h("li", { class: "message user" }, h("span", { class: "sr", textContent: "You" }), bubble, row);
  editing.addEventListener("click", () => edit(element, bubble, row, message.content, act, editing));
  return { element };
}

function edit(element, bubble, row, text, act, button) {
  const field = h("textarea", { value: text, rows: Math.min(12, text.split("\n").length + 1), "aria-label": "Edit the message" });
  const back = () => {
    form.remove();
    bubble.hidden = row.hidden = false;
    button.focus();
  };
  const form = h(
    "form",
    { class: "edit" },
    field,
    h("div", { class: "actions" },
      h("button", { type: "button", class: "quiet", onclick: back, textContent: "Cancel" }),
      h("button", { type: "submit", class: "primary", textContent: "Send again" })),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value.trim()) act.edit(field.value);
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      back();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target === field) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  bubble.hidden = row.hidden = true;
  element.append(form);
  field.focus();
  field.setSelectionRange(text.length, text.length);
}

/** What a model answers, growing. `act.again()` asks anew. */
export class Answer {
  #message;
  #act;
  #growing;
  #thoughts = null;
  #waiting = h("p", { class: "waiting", role: "status" });
  #body = h("div", { class: "body" });
  #foot = h("div", { class: "foot" });

  constructor(message, act) {
    this.#message = message;
    this.#act = act;
    this.element = h(
      "li",
      { class: "message assistant" },
      h("span", { class: "who", textContent: short(message.model ?? "") }),
      this.#waiting,
      this.#body,
      this.#foot,
    );
    this.#growing = new Growing(this.#body);
    this.#waiting.hidden = true;
  }

  /** Says what is waited for; "" for nothing. */
  wait(words) {
    this.#waiting.hidden = !words;
    if (words && this.#waiting.textContent !== words) this.#waiting.textContent = words;
  }

  /** Shows what has come since. */
  grow() {
    const { content, thinking } = this.#message;
    this.wait("");
    if (thinking) this.#think(content ? null : "Thinking…");
    if (content) this.#growing.grow(content);
  }

  #think(words) {
    if (!this.#thoughts) {
      const summary = h("summary");
      const text = h("div", { class: "plain" });
      this.#thoughts = { summary, text, element: h("details", { class: "thoughts" }, summary, text) };
      this.#body.before(this.#thoughts.element);
    }
    const spent = this.#message.thought;
    this.#thoughts.summary.textContent = words ?? (spent ? `Thought for ${duration(spent)}` : "Thoughts");
    this.#thoughts.text.textContent = this.#message.thinking;
  }

  /** The end, as the message now has it: an answer, one that was stopped, or an error. */
  async finish({ isNew = false } = {}) {
    const message = this.#message;
    this.wait("");
    if (message.thinking) this.#think(null);
    this.#foot.replaceChildren();
    if (message.content) await this.#growing.finish(message.content);
    if (isNew && message.content && !message.error) announce(this.#body.innerText.slice(0, 5000));
    if (message.error) this.#foot.append(problem({ message: message.error }, this.#act.again));
    else this.#foot.append(this.#acts());
  }

  #acts() {
    const copying = h("button", { type: "button", class: "quiet small", textContent: "Copy" });
    copying.addEventListener("click", () => copyFrom(copying, this.#message.content));
    const again = h("button", { type: "button", class: "quiet small", textContent: "Regenerate", onclick: this.#act.again });
    return h("div", { class: "acts" }, copying, again, figures(this.#message));
  }
}

/** An answer without figures never came to its end: it was stopped, or the page was closed. */
function figures({ figures: its }) {
  if (!its) return h("span", { class: "figures-line", textContent: "stopped" });
  const parts = [plural(its.tokens, "token"), rate(its.rate)];
  if (its.reason === "length") parts.unshift("cut off at the limit");
  const told = [
    `prompt: ${plural(its.prompt, "token")}${its.cached ? `, ${count(its.cached)} of them cached` : ""}`,
    its.first ? `first words after ${duration(its.first)}` : "",
    its.load > 1 ? `load: ${duration(its.load)}` : "",
    its.total ? `all in ${duration(its.total)}` : "",
  ];
  const words = told.filter(Boolean).join(", ");
  return h("details", { class: "figures-line" },
    h("summary", { textContent: parts.filter(Boolean).join(" · ") }), h("span", { textContent: words }));
}
