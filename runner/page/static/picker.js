// Which model answers: the last one used, else one that is loaded, else the demo. Those that only embed aren't offered.

import { get } from "/page/api.js";
import { find, h, retryWords } from "/page/dom.js";
import { short } from "/page/format.js";
import { preference, prefer } from "/page/storage.js";

let models = [];
let wanted = null; // a conversation's own, which may not be installed any more
let on = () => {};

/** `changed(model)` is called with what is chosen, at first and later. */
export async function startPicker(changed) {
  on = changed;
  const list = find("model");
  list.addEventListener("change", () => {
    wanted = list.value;
    prefer("model", wanted);
    on(chosen());
  });
  list.addEventListener("focus", () => refresh().catch(() => {}));
  await offer();
}

/** Lists the models, or says what is in the way. */
async function offer() {
  const place = find("composer-notice");
  const hadFocus = place.contains(document.activeElement);
  try {
    await refresh();
    if (hadFocus) find("prompt").focus();
    place.hidden = true;
  } catch (error) {
    if (!models.length) find("model").replaceChildren(h("option", { textContent: "no model" }));
    const retry = h("button", { type: "button", class: "quiet small", textContent: retryWords(error), onclick: offer });
    place.replaceChildren(`${error.message} `, retry);
    place.hidden = false;
  }
}

/** The model that answers: `{name, short, capabilities}`; null when there is none. */
export const chosen = () => models.find((each) => each.name === find("model").value) ?? null;

/** Chooses a model by its name, if it is there. */
export function select(name) {
  wanted = name;
  if (models.some((each) => each.name === name)) find("model").value = name;
}

/** Looks again what is installed. */
export async function refresh() {
  const [{ models: stored }, loaded] = await Promise.all([get("/api/tags"), get("/api/ps").catch(() => ({ models: [] }))]);
  const list = find("model");
  const before = chosen()?.name;
  models = stored
    .filter((each) => each.capabilities.includes("completion"))
    .map(({ name, capabilities }) => ({ name, short: short(name), capabilities }));
  const names = models.map((each) => each.name);
  if (names.join("\n") !== [...list.options].map((option) => option.value).join("\n")) {
    list.replaceChildren(...models.map((each) => h("option", { value: each.name, textContent: each.short })));
  }
  if (!models.length) list.replaceChildren(h("option", { value: "", textContent: "no model installed" }));
  const warm = loaded.models.filter((each) => each.state === "ready").map((each) => each.name);
  const choices = [wanted, before, preference("model"), ...warm, "demo:latest", ...names];
  const found = choices.find((name) => names.includes(name));
  if (found) list.value = found;
  if (chosen()?.name !== before && chosen()) on(chosen());
}
