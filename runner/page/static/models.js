// The view of models: what is installed, what is loaded, pulls under way, and what can be done with each.

import { get, post, call } from "/page/api.js";
import { confirmed } from "/page/dialogs.js";
import { announce, complain, find, h, keyed, problem, say } from "/page/dom.js";
import { bytes, count, moment, plural, rate, short, until } from "/page/format.js";
import { memoryBar } from "/page/memory.js";
import { refresh as refreshPicker, select } from "/page/picker.js";
import { poll } from "/page/poll.js";
import { startPulls } from "/page/pulls.js";
import { prefer } from "/page/storage.js";

const ABILITIES = { completion: "chat", insert: "fill-in" };
const STATES = { queued: "waits", loading: "loading", ready: "loaded", stopping: "leaving", paused: "paused" };
let installed = null;
let loaded = null;
let polling = null;
let loadedRows = [];

/** Shows the view; returns what ends it. */
export function showModels() {
  installed ??= keyed(find("installed"), (row) => row.name, makeInstalled);
  loaded ??= keyed(find("loaded"), (row) => row.name, makeLoaded);
  startPulls({ pulled });
  let turn = 0;
  polling = poll(async (signal) => {
    const running = await get("/api/ps", { signal });
    loadedRows = running.models;
    loaded(loadedRows);
    find("loaded-none").hidden = loadedRows.length > 0;
    if (turn++ % 5 === 0) await list(signal);
  }, (error) => complain(find("models-error"), error, () => polling.now()));
  return polling;
}

async function list(signal) {
  const { models, broken = [] } = await get("/api/tags", { signal });
  installed([...models, ...broken.map(({ name, reason }) => ({ name, reason }))]);
  find("installed-none").hidden = models.length + broken.length > 0;
}

async function pulled() {
  await Promise.all([list(), refreshPicker()]);
}

function makeInstalled({ name }) {
  const title = h("h3", { textContent: short(name) });
  const meta = h("p", { class: "meta" });
  const chips = h("p", { class: "chips" });
  const error = h("div");
  const act = acting(error);
  const chat = h("button", { type: "button", textContent: "Chat", "aria-label": `Chat with ${short(name)}` });
  const remove = h("button", { type: "button", class: "quiet", textContent: "Remove", "aria-label": `Remove ${short(name)}` });
  chat.addEventListener("click", () => {
    prefer("model", name);
    select(name);
    location.hash = "#chat";
  });
  remove.addEventListener("click", async () => {
    const words = `${short(name)} is unloaded and its files are deleted, unless another model shares them.`;
    if (!(await confirmed(`Remove ${short(name)}?`, words, "Remove"))) return;
    act(remove, async () => {
      await call("DELETE", "/api/delete", { model: name, report: true });
      announce(`${short(name)} is removed`);
      await pulled();
      find("pull-name").focus();
    });
  });
  const element = h("li", { class: "row" },
    h("div", { class: "about" }, title, meta, chips, error), h("div", { class: "acts" }, chat, remove));
  const update = (row) => {
    chat.hidden = !row.capabilities?.includes("completion");
    if (row.reason) {
      say(meta, `can't be used: ${row.reason}`);
      return;
    }
    const { parameter_size: size, quantization_level: quantization, context_length: context, family } = row.details;
    const parts = [bytes(row.size), size && `${size} parameters`, quantization, family,
      context && `${count(context)} tokens of context`, `changed ${moment(row.modified_at)}`];
    say(meta, parts.filter(Boolean).join(" · "));
    const words = row.capabilities.map((each) => ABILITIES[each] ?? each);
    if (chips.textContent !== words.join("")) chips.replaceChildren(...words.map((each) => h("span", { textContent: each })));
  };
  return { element, update };
}

function makeLoaded({ name }) {
  const state = h("span", { class: "state" });
  const meta = h("p", { class: "meta" });
  const bar = memoryBar();
  const error = h("div");
  const act = acting(error);
  let row = null;
  const pin = h("button", { type: "button", class: "quiet" });
  const unload = h("button", { type: "button", class: "quiet", textContent: "Unload", "aria-label": `Unload ${short(name)}` });
  pin.addEventListener("click", () => act(pin, async () => {
    await post(row.pinned ? "/runner/unpin" : "/runner/pin", { model: name });
    await polling?.now();
  }));
  unload.addEventListener("click", () => act(unload, async () => {
    await post("/api/chat", { model: name, keep_alive: 0 });
    announce(`${short(name)} is unloaded`);
    await polling?.now();
    find("pull-name").focus();
  }));
  const element = h("li", { class: "row" },
    h("div", { class: "about" }, h("h3", {}, short(name), " ", state), meta, bar.element, error),
    h("div", { class: "acts" }, pin, unload));
  const update = (latest) => {
    row = latest;
    const progress = row.state === "loading" && row.progress > 0 ? ` ${Math.round(100 * row.progress)} %` : "";
    say(state, STATES[row.state] + progress);
    state.dataset.state = row.state;
    const parts = [row.placement.words, `${count(row.context_length)} tokens of context`,
      row.running ? `${plural(row.running, "request")} running` : "", row.waiting ? `${row.waiting} waiting` : "",
      row.running ? rate(row.decode_rate) : "", row.pinned ? "pinned" : until(row.expires_at),
      row.shared_with.length ? `shares all this with ${row.shared_with.map(short).join(", ")}` : ""];
    say(meta, row.state === "ready" ? parts.filter(Boolean).join(" · ") : row.status);
    bar.update(row.memory);
    say(pin, row.pinned ? "Unpin" : "Pin");
    pin.setAttribute("aria-label", `${row.pinned ? "Unpin" : "Pin"} ${short(name)}`);
    pin.title = row.pinned ? "It may leave memory again" : "Keep it in memory";
    unload.disabled = row.state === "stopping";
  };
  return { element, update };
}

/** Runs what a button does, once at a time, and says beside it what went wrong. */
function acting(place) {
  return async function act(button, work) {
    if (button.getAttribute("aria-busy") === "true") return;
    button.setAttribute("aria-busy", "true");
    place.replaceChildren();
    try {
      await work();
    } catch (error) {
      place.replaceChildren(problem(error, () => act(button, work)));
    } finally {
      button.removeAttribute("aria-busy");
    }
  };
}
