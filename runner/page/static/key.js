// The API key: asked for when the daemon wants one, kept for this tab alone.

import { find } from "/page/dom.js";

const NAME = "runner.key";
let key = read();
let asking = null;

function read() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return null;
  }
}

export const keyHeaders = () => (key ? { Authorization: `Bearer ${key}` } : {});

/** Asks once for everybody who waits. True when there is a key that wasn't tried yet; `tried` is the header that failed. */
export function askKey(tried) {
  if (key && tried !== `Bearer ${key}`) return Promise.resolve(true);
  asking ??= show(Boolean(tried)).finally(() => (asking = null));
  return asking;
}

function show(wasWrong) {
  const dialog = find("key");
  const field = find("key-value");
  const words = wasWrong
    ? "That is not the key. RUNNER_API_KEY on the machine that runs Runner has it."
    : "This Runner answers only with its key. It is kept until this tab is closed.";
  find("key-words").textContent = words;
  field.value = "";
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    const end = new AbortController();
    const done = (given) => {
      end.abort();
      dialog.close();
      resolve(given);
    };
    const form = dialog.querySelector("form");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      // A header takes visible ASCII only; the daemon would not see anything else.
      key = field.value.trim().replace(/[^\x21-\x7e]/g, "");
      try {
        sessionStorage.setItem(NAME, key);
      } catch {
        // Then it is known until the page is loaded again.
      }
      done(true);
    }, { signal: end.signal });
    find("key-cancel").addEventListener("click", () => done(false), { signal: end.signal });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      done(false);
    }, { signal: end.signal });
  });
}
