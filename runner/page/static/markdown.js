// Answers as HTML that the daemon made of their Markdown. The one place where text becomes elements.

import { post } from "/page/api.js";
import { copyFrom } from "/page/dom.js";

const policy = window.trustedTypes?.createPolicy("rendered", { createHTML: (html) => html });
const trusted = (html) => (policy ? policy.createHTML(html) : html);
const PACE = 60; // ms between two renderings of a growing answer, at least

/** An answer in `element` that grows: only what can still change is rendered anew. */
export class Growing {
  #done;
  #tail;
  #html = "";
  #settled = 0;
  #text = "";
  #busy = null;

  constructor(element) {
    this.#done = document.createElement("div");
    this.#tail = document.createElement("div");
    this.#done.className = this.#tail.className = "prose";
    element.replaceChildren(this.#done, this.#tail);
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button.copy");
      if (button) copyFrom(button, button.closest(".code").querySelector("code").textContent);
    });
  }

  /** The text so far. What comes while a rendering is under way is taken by the next. */
  grow(text) {
    this.#text = text;
    this.#busy ??= this.#follow().finally(() => (this.#busy = null));
  }

  async #follow() {
    for (let seen = null; seen !== this.#text; ) {
      seen = this.#text;
      const began = performance.now();
      try {
        const part = await post("/page/render", { text: seen.slice(this.#settled).toWellFormed(), final: false });
        if (part.settled) {
          this.#done.insertAdjacentHTML("beforeend", trusted(part.html));
          this.#html += part.html;
          this.#settled += part.settled;
        }
        this.#tail.innerHTML = trusted(part.rest);
      } catch {
        this.#plain(seen.slice(this.#settled));
      }
      const spent = performance.now() - began;
      await new Promise((resolve) => setTimeout(resolve, Math.max(PACE, 2 * spent)));
    }
  }

  /** The text is complete: rendered once as a whole, since a link may be defined at its end. */
  async finish(text) {
    this.#text = text;
    await this.#busy;
    try {
      const whole = await post("/page/render", { text: text.toWellFormed(), final: true });
      if (whole.html !== this.#html) this.#done.innerHTML = trusted(whole.html);
      this.#tail.replaceChildren();
    } catch {
      this.#done.replaceChildren();
      this.#plain(text);
    }
  }

  #plain(text) {
    const words = document.createElement("p");
    words.className = "plain";
    words.textContent = text;
    this.#tail.replaceChildren(words);
  }
}
