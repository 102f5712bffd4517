// Memory as a bar with its words: weights, cache of tokens, and room to compute in. Lengths are of the whole, or of all.

import { h, say } from "/page/dom.js";
import { bytes } from "/page/format.js";

const PARTS = { weights: "weights", kv: "tokens", compute: "work" };

/** What one model holds. `update(memory)` takes the rows of /api/ps. */
export function memoryBar() {
  const spans = Object.keys(PARTS).map((name) => h("i", { class: name }));
  const words = h("span", { class: "words" });
  const element = h("div", { class: "memory" }, h("div", { class: "track", "aria-hidden": "true" }, spans), words);
  const update = (memory) => {
    const sums = Object.keys(PARTS).map((name) => memory.reduce((sum, each) => sum + each[name], 0));
    const whole = sums.reduce((sum, each) => sum + each, 0);
    element.hidden = whole === 0;
    spans.forEach((span, at) => (span.style.width = `${(100 * sums[at]) / (whole || 1)}%`));
    const told = Object.values(PARTS).map((word, at) => `${bytes(sums[at])} ${word}`);
    const devices = [...new Set(memory.map((each) => each.device))].join(" + ");
    say(words, `${bytes(whole)} on ${devices}: ${told.join(", ")}`);
  };
  return { element, update };
}

/** A memory of the machine, with what each model holds of it. `update({name, free, total}, held)`; `held` by model. */
export function poolBar() {
  const title = h("h3");
  const track = h("div", { class: "track", "aria-hidden": "true" });
  const legend = h("ul", { class: "shares" });
  const element = h("div", { class: "pool" }, title, track, legend);
  const update = ({ name, free, total }, held) => {
    const ours = held.reduce((sum, each) => sum + each.size, 0);
    const others = Math.max(0, total - free - ours);
    say(title, `${name === "host" ? "This machine" : name}: ${bytes(free)} free of ${bytes(total)}`);
    const shares = [...held, { name: "everything else", size: others, isOther: true }].filter((each) => each.size > 0);
    const names = shares.map((each) => each.name).join("\n");
    if (track.dataset.names !== names) {
      track.dataset.names = names;
      track.replaceChildren(...shares.map((each, at) => h("i", { class: each.isOther ? "other" : `share-${at % 6}` })));
      legend.replaceChildren(...shares.map((each, at) =>
        h("li", {}, h("i", { class: each.isOther ? "other" : `share-${at % 6}`, "aria-hidden": "true" }), h("span"))));
    }
    shares.forEach((each, at) => {
      track.children[at].style.width = `${(100 * each.size) / total}%`;
      say(legend.children[at].lastElementChild, `${each.name} ${bytes(each.size)}`);
    });
  };
  return { element, update };
}
