// The page as a whole: which view is shown, the colours, and everything's beginning.

import { startChat } from "/page/chat.js";
import { find } from "/page/dom.js";
import { showLive } from "/page/live.js";
import { showModels } from "/page/models.js";
import { showRequests } from "/page/requests.js";
import { preference, prefer } from "/page/storage.js";

const TITLES = { chat: "Chat", models: "Models", live: "Live", requests: "Requests" };
const THEMES = { "": "as the system", light: "light", dark: "dark" };
const VIEWS = { models: showModels, live: showLive, requests: showRequests };
let leave = null;
let shown = "";

/** Shows what the address says; nothing of a view that isn't shown goes on. */
function route({ isFirst = false } = {}) {
  const [name, ...more] = location.hash.slice(1).split("/");
  const view = Object.hasOwn(TITLES, name) ? name : shown || "chat";
  const argument = decoded(more.join("/"));
  leave?.();
  leave = VIEWS[view]?.(argument) ?? null;
  const isAnother = view !== shown;
  shown = view;
  document.title = view === "chat" ? "Runner" : `${TITLES[view]} · Runner`;
  for (const each of document.querySelectorAll(".view")) each.hidden = each.id !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view === "chat") find("prompt").focus();
  else if (isAnother && !isFirst) find("main").focus({ preventScroll: true });
  if (isAnother) window.scrollTo(0, 0);
}

/** As it is where somebody has typed what isn't an encoding. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function colour(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  find("theme").setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
  find("theme").title = `Colours: ${THEMES[theme]}`;
}

function startTheme() {
  const names = Object.keys(THEMES);
  let theme = preference("theme", "");
  if (!names.includes(theme)) theme = "";
  colour(theme);
  find("theme").addEventListener("click", () => {
    theme = names[(names.indexOf(theme) + 1) % names.length];
    prefer("theme", theme || null);
    colour(theme);
  });
}

find("skip").addEventListener("click", (event) => {
  event.preventDefault();
  (shown === "chat" ? find("prompt") : find("main")).focus();
});
startTheme();
startChat();
window.addEventListener("hashchange", () => route());
route({ isFirst: true });
