// What a chat is asked with beside its words: system prompt, temperature, context, thinking.

import { find } from "/page/dom.js";

export const NO_OPTIONS = Object.freeze({ system: "", temperature: null, context: null, think: "" });

const number = (field) => (field.value.trim() === "" || Number.isNaN(field.valueAsNumber) ? null : field.valueAsNumber);

function write({ system, temperature, context, think }) {
  find("option-system").value = system;
  find("option-temperature").value = temperature ?? "";
  find("option-context").value = context ?? "";
  find("option-think").value = think;
}

/** Lets them be changed; gives the new ones, or null when nothing was meant to change. */
export function changed(options, thinks) {
  const dialog = find("options");
  const form = dialog.querySelector("form");
  write(options);
  find("thinking-field").hidden = !thinks;
  dialog.showModal();
  return new Promise((resolve) => {
    const end = new AbortController();
    const done = (answer) => {
      end.abort();
      dialog.close();
      resolve(answer);
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      done({
        system: find("option-system").value,
        temperature: number(find("option-temperature")),
        context: number(find("option-context")),
        think: find("option-think").value,
      });
    }, { signal: end.signal });
    find("options-reset").addEventListener("click", () => write(NO_OPTIONS), { signal: end.signal });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      done(null);
    }, { signal: end.signal });
  });
}

/** How many differ from the model's own. */
export const used = (options) => Object.keys(NO_OPTIONS).filter((name) => options[name] !== NO_OPTIONS[name]).length;

/** As /api/chat takes them. */
export function asked(options, thinks) {
  const values = {};
  if (options.temperature !== null) values.temperature = options.temperature;
  if (options.context !== null) values.num_ctx = options.context;
  const body = Object.keys(values).length ? { options: values } : {};
  if (thinks && options.think) body.think = options.think === "on";
  return body;
}
