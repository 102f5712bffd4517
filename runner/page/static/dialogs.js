// Questions before something is lost.

import { find } from "/page/dom.js";

/** Whether somebody says yes; what has the focus is what does no harm. */
export function confirmed(title, words, yes) {
  const dialog = find("confirm");
  find("confirm-title").textContent = title;
  find("confirm-words").textContent = words;
  find("confirm-yes").textContent = yes;
  dialog.showModal();
  find("confirm-no").focus();
  return new Promise((resolve) => {
    const end = new AbortController();
    const done = (answer) => {
      end.abort();
      dialog.close();
      resolve(answer);
    };
    find("confirm-no").addEventListener("click", () => done(false), { signal: end.signal });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      done(false);
    }, { signal: end.signal });
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      done(true);
    }, { signal: end.signal });
  });
}
