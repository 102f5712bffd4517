// Pulls: a row each, with progress and a way to cancel. They go on while other views are shown.

import { Failure, get, post, stream } from "/page/api.js";
import { announce, find, h, problem, say } from "/page/dom.js";
import { bytes, duration } from "/page/format.js";

let on = null;

/** `pulled()` is called after each pull that succeeded. */
export function startPulls(acts) {
  if (on === null) {
    find("pull-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = find("pull-name").value.trim();
      if (!name) return find("pull-name").focus();
      find("pull-name").value = "";
      pull(name);
    });
    suggest();
  }
  on = acts;
}

/** The catalog's names under the field; the network isn't asked. */
async function suggest() {
  try {
    const { catalog } = await post("/runner/search", { text: "", hub: false, limit: 100 });
    find("catalog").replaceChildren(
      ...catalog.map((each) => h("option", { value: each.name, label: `${each.name}: ${each.summary}` })),
    );
  } catch {
    // Then a name is typed in full.
  }
}

function pull(name) {
  const meta = h("p", { class: "meta", role: "status", textContent: "asking for it" });
  const bar = h("progress", { max: 1, "aria-label": `Progress of ${name}` });
  const error = h("div");
  const cancel = h("button", { type: "button", class: "quiet", textContent: "Cancel", "aria-label": `Cancel ${name}` });
  const element = h("li", { class: "row" },
    h("div", { class: "about" }, h("h3", { textContent: name }), meta, bar, error), h("div", { class: "acts" }, cancel));
  const stopping = new AbortController();
  cancel.addEventListener("click", () => {
    if (stopping.signal.aborted || cancel.textContent === "Close") {
      element.remove();
      find("pull-name").focus();
    } else stopping.abort();
  });
  find("pulls").append(element);
  follow(name, stopping.signal, { meta, bar }).then(
    async () => {
      announce(`${name} is pulled`);
      element.remove();
      await on.pulled();
    },
    (failure) => {
      bar.remove();
      cancel.textContent = "Close";
      cancel.setAttribute("aria-label", `Close ${name}`);
      if (failure.name === "AbortError") say(meta, "cancelled; what has come is kept, and pulling again goes on from there");
      else {
        meta.remove();
        error.replaceChildren(problem(failure, () => {
          element.remove();
          pull(name);
        }));
      }
    },
  );
}

async function follow(name, signal, { meta, bar }) {
  const pace = new Pace();
  let last = "";
  for await (const { status, total, completed } of stream("/api/pull", { model: name }, { signal })) {
    last = status;
    if (total) {
      bar.value = completed / total;
      const told = [`${bytes(completed)} of ${bytes(total)}`, pace.words(completed, total)];
      say(meta, [status.replace(/^pulling (sha256:)?[0-9a-f]{12,}.*$/, "pulling"), ...told].filter(Boolean).join(" · "));
    } else {
      bar.removeAttribute("value");
      say(meta, status);
    }
  }
  if (last !== "success") throw new Failure("The pull broke off. Pulling again goes on from there.");
}

/** Bytes a second over the last few. */
class Pace {
  #seen = [];

  words(completed, total) {
    const now = performance.now();
    if (this.#seen.length && completed < this.#seen.at(-1)[1]) this.#seen = [];
    this.#seen.push([now, completed]);
    while (this.#seen.length > 2 && now - this.#seen[0][0] > 5000) this.#seen.shift();
    const [at, before] = this.#seen[0];
    const speed = now - at > 500 ? ((completed - before) / (now - at)) * 1000 : 0;
    return speed > 0 ? `${bytes(speed)}/s · ${duration(((total - completed) / speed) * 1000)} left` : "";
  }
}
