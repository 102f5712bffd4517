// The live view: who waits, who is answered, and whose the memory is. Once a second, while it is seen.

import { get } from "/page/api.js";
import { complain, find, h, keyed, say } from "/page/dom.js";
import { count, duration, ordinal, plural, rate, short } from "/page/format.js";
import { poolBar } from "/page/memory.js";
import { poll } from "/page/poll.js";

const STATES = { waiting: "waiting", loading: "loading the model", prefill: "reading the prompt", generating: "answering" };
let lists = null;

/** Shows the view; returns what ends it. */
export function showLive() {
  lists ??= {
    pools: keyed(find("memory"), (each) => each.pool.name, makePool),
    running: keyed(find("running"), (each) => each.id, makeRunning),
    waiting: keyed(find("waiting"), (each) => each.id, makeWaiting),
    totals: keyed(find("totals"), (each) => each.name, makeTotal),
  };
  const polling = poll(look, (error) => complain(find("live-error"), error, () => polling.now()));
  return polling;
}

async function look(signal) {
  const [loaded, queue] = await Promise.all([get("/api/ps", { signal }), queueOf(signal)]);
  const { models, totals } = loaded;
  const waiting = queue ? queue.waiting.length : totals.queued;
  const running = queue ? queue.running.length : models.reduce((sum, each) => sum + each.running, 0);
  const ready = models.filter((each) => each.state === "ready").length;
  lists.totals([
    { name: "running", value: count(running), note: unit(running, "request") },
    { name: "waiting", value: count(waiting), note: `of ${count(queue?.limit ?? totals.queue_limit)} at most` },
    { name: "loaded", value: count(ready), note: unit(ready, "model") },
    { name: "speed", value: speed(models), note: "tokens/s" },
  ]);
  lists.pools(totals.memory.map((pool) => ({ pool, held: heldOf(models, pool.name) })));
  lists.running(queue?.running ?? []);
  lists.waiting(queue?.waiting ?? []);
  find("running-none").hidden = running > 0 && queue !== null;
  find("waiting-none").hidden = waiting > 0 && queue !== null;
  if (queue === null) {
    const words = "This Runner doesn't list its requests; an upgrade does.";
    say(find("running-none"), words);
    say(find("waiting-none"), words);
  }
}

const unit = (number, word) => plural(number, word).replace(/^\S+ /, "");

async function queueOf(signal) {
  try {
    return await get("/runner/queue", { signal });
  } catch (error) {
    if (error.isMissing) return null;
    throw error;
  }
}

/** Workers that several models share count once. */
const workers = (models) => models.filter((each, at) => each.pid === null || models.findIndex((other) => other.pid === each.pid) === at);

const speed = (models) => {
  const sum = workers(models).filter((each) => each.running).reduce((all, each) => all + each.decode_rate, 0);
  if (sum === 0) return "0";
  return sum >= 100 ? count(Math.round(sum)) : sum.toFixed(1);
};

function heldOf(models, pool) {
  return workers(models)
    .map((each) => ({
      name: [each.name, ...each.shared_with].map(short).sort().join(" + "),
      size: each.memory.filter((row) => row.pool === pool).reduce((sum, row) => sum + row.weights + row.kv + row.compute, 0),
    }))
    .filter((each) => each.size > 0);
}

function makePool() {
  const bar = poolBar();
  return { element: bar.element, update: ({ pool, held }) => bar.update(pool, held) };
}

function makeTotal({ name }) {
  const value = h("dd");
  const note = h("dd", { class: "note" });
  const element = h("div", {}, h("dt", { textContent: name }), value, note);
  const update = (latest) => {
    say(value, latest.value);
    say(note, latest.note);
  };
  return { element, update };
}

function line(id) {
  const title = h("h3");
  const meta = h("p", { class: "meta" });
  const link = h("a", { class: "button quiet", href: `#requests/${encodeURIComponent(id)}`, textContent: "Look", "aria-label": `Look at request ${id}` });
  return { title, meta, element: h("li", { class: "row" }, h("div", { class: "about" }, title, meta), h("div", { class: "acts" }, link)) };
}

function makeRunning({ id }) {
  const { title, meta, element } = line(id);
  const update = (row) => {
    say(title, short(row.model));
    const parts = [STATES[row.state] ?? row.state, row.completion_tokens ? plural(row.completion_tokens, "token") : "",
      rate(row.tokens_per_second), `for ${duration(row.elapsed_ms)}`];
    say(meta, parts.filter(Boolean).join(" · "));
  };
  return { element, update };
}

function makeWaiting({ id }) {
  const { title, meta, element } = line(id);
  const update = (row) => {
    say(title, short(row.model));
    const parts = [row.state === "loading" ? "its model is loading" : "",
      row.position !== null ? `${ordinal(Math.max(1, row.position))} in the queue` : "", row.eta_ms !== null ? `about ${duration(row.eta_ms)}` : "",
      `waited ${duration(row.waited_ms)}`, row.priority && row.priority !== "interactive" ? row.priority : "", row.client];
    say(meta, parts.filter(Boolean).join(" · "));
  };
  return { element, update };
}
