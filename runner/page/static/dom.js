// Elements from words, lists that keep their elements, and what is said to those who listen. Text is only ever text here.

/** An element. Properties are set as such, `on…` are listeners, `aria-…`, `data-…` and `role` attributes. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (/^(aria-|data-|role$|colspan$|for$|tabindex$)/.test(name)) element.setAttribute(name, value);
    else if (name === "class") element.className = value;
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const find = (id) => document.getElementById(id);

/** Sets text only where it differs, so that a selection and a screen reader aren't disturbed every second. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A list whose elements stay as long as their items do: `make` gives `{element, update}`. Focus and selection survive. */
export function keyed(parent, keyOf, make) {
  const shown = new Map();
  return (items) => {
    const wanted = new Set(items.map(keyOf));
    for (const [key, each] of shown) {
      if (wanted.has(key)) continue;
      each.element.remove();
      shown.delete(key);
    }
    let before = parent.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      if (!shown.has(key)) shown.set(key, make(item));
      const { element, update } = shown.get(key);
      update(item);
      if (element === before) before = before.nextElementSibling;
      else parent.insertBefore(element, before);
    }
  };
}

/** Tells screen readers, politely. */
export function announce(text) {
  const spoken = find("spoken");
  spoken.append(h("p", { textContent: text }));
  while (spoken.childElementCount > 20) spoken.firstElementChild.remove();
}

/** What a button that tries again says. */
export const retryWords = (error) => (error.status === 401 ? "Enter the key" : "Try again");

/** What went wrong, where it went wrong, with a button to try again. */
export function problem(error, retry, words = retryWords(error)) {
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("p", { textContent: error.message || String(error) }),
    retry ? h("button", { type: "button", onclick: retry, textContent: words }) : null,
  );
}

const retries = new WeakMap();

/**
 * Says what goes wrong each second, or with null that all is well. The element stays while its words do: nothing is read
 * out again, and the button keeps its focus.
 */
export function complain(place, error, retry) {
  retries.set(place, retry);
  const words = error && `${error.message} ${error.status}`;
  if (place.firstElementChild && place.dataset.said === words) return;
  place.replaceChildren(...(error ? [problem(error, retry && (() => retries.get(place)()))] : []));
  if (error) place.dataset.said = words;
}

/** Puts text on the clipboard; pages that came over plain HTTP from another machine have only the old way. */
export async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const field = h("textarea", { value: text, class: "sr", "aria-hidden": "true" });
  const before = document.activeElement;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus();
  if (!done) throw new Error("the browser would not copy");
}

/** A copy button that says what became of it. */
export async function copyFrom(button, text) {
  const words = button.dataset.words ?? (button.dataset.words = button.textContent);
  try {
    await copy(text);
    button.textContent = "Copied";
    announce("Copied");
  } catch {
    button.textContent = "Not copied";
  }
  clearTimeout(Number(button.dataset.timer));
  button.dataset.timer = String(setTimeout(() => (button.textContent = words), 1500));
}
