// The request inspector: the requests that the daemon still knows, and one of them in full.

import { call, get } from "/page/api.js";
import { announce, complain, copyFrom, find, h, keyed, say } from "/page/dom.js";
import { bytes, count, duration, fully, moment, ordinal, plural, rate, short } from "/page/format.js";
import { poll } from "/page/poll.js";

const PHASES = { queue_ms: "queue", load_ms: "load", prefill_ms: "prompt", decode_ms: "answer" };
const KINDS = { queue_ms: "queue", load_ms: "load", prefill_ms: "prefill", decode_ms: "decode" };
const STATES = { prefill: "reading", generating: "answering" };
const OVER = new Set(["done", "failed", "cancelled"]);
const MOST = 100;
let fill = null;
let looking = null;

/** Shows the list, or the request of that id; returns what ends it. */
export function showRequests(id) {
  find("request-list").hidden = Boolean(id);
  find("request-detail").hidden = !id;
  looking = id ? showOne(id) : showList();
  return looking;
}

const missing = (error) => (error?.isMissing ? { message: "This Runner keeps no requests; an upgrade does." } : error);

function showList() {
  if (fill === null) {
    fill = keyed(find("request-rows"), (row) => row.id, makeRow);
    for (const name of ["request-model", "request-state"]) find(name).addEventListener("change", () => looking?.now());
  }
  const polling = poll(list, (error) => {
    complain(find("requests-error"), missing(error), error?.isMissing ? null : () => polling.now());
  });
  return polling;
}

async function list(signal) {
  const model = find("request-model").value;
  const state = find("request-state").value;
  const asked = new URLSearchParams({ limit: MOST, ...(model && { model }), ...(state && { state }) });
  const { requests, kept, most } = await get(`/runner/requests?${asked}`, { signal });
  fill(requests);
  offer(requests.map((each) => each.model).filter(Boolean));
  const none = find("requests-none");
  none.hidden = requests.length > 0;
  say(none, model || state ? "None is like that." : most === 0 ? "No requests are kept: request_log is 0." : "No request yet.");
  say(find("requests-kept"), requests.length ? `The latest ${count(kept)} are kept, at most ${count(most)}.` : "");
}

function offer(models) {
  const list = find("request-model");
  const known = [...list.options].map((each) => each.value);
  for (const name of new Set(models)) {
    if (!known.includes(name)) list.append(h("option", { value: name, textContent: short(name) }));
  }
}

function makeRow({ id }) {
  const at = h("span", { class: "at" });
  const model = h("span", { class: "name" });
  const state = h("span", { class: "state" });
  const tokens = h("span", { class: "tokens" });
  const total = h("span", { class: "total" });
  const bar = phasesBar();
  const error = h("span", { class: "error-line" });
  const link = h("a", { class: "request", href: `#requests/${encodeURIComponent(id)}` }, at, model, state, tokens, total, bar.element, error);
  const update = (row) => {
    say(at, moment(row.at));
    say(model, row.model ? short(row.model) : row.path);
    mark(state, row);
    say(tokens, flow(row));
    say(total, duration(row.timings.total_ms));
    bar.update(row.timings);
    say(error, row.error ? row.error.message : "");
  };
  return { element: h("li", { class: "row" }, link), update };
}

function mark(element, row) {
  const wait = row.state === "waiting" && row.position !== null ? `, ${ordinal(Math.max(1, row.position))}` : "";
  say(element, (STATES[row.state] ?? row.state) + wait);
  element.dataset.state = row.state;
}

/** Tokens in and out. */
function flow(row) {
  if (row.prompt_tokens === null && row.completion_tokens === null) return "";
  return `${count(row.prompt_tokens)} → ${plural(row.completion_tokens ?? 0, "token")}`;
}

/** The phases as parts of a bar; their words are beside it or in the detail. */
function phasesBar() {
  const parts = Object.entries(KINDS).map(([name, kind]) => [name, h("i", { class: kind })]);
  const element = h("span", { class: "track", "aria-hidden": "true" }, parts.map(([, part]) => part));
  const update = (timings) => {
    const sum = parts.reduce((all, [name]) => all + (timings[name] ?? 0), 0);
    for (const [name, part] of parts) part.style.width = `${sum ? (100 * (timings[name] ?? 0)) / sum : 0}%`;
    element.title = Object.entries(PHASES).map(([name, word]) => `${word} ${duration(timings[name])}`).join(", ");
  };
  return { element, update };
}

function showOne(id) {
  const place = find("request-detail");
  const state = h("span", { class: "state" });
  const title = h("h1", { textContent: "Request" });
  const error = h("div");
  const facts = h("dl", { class: "facts" });
  const phases = h("dl", { class: "phases" });
  const texts = h("div");
  const cancel = h("button", { type: "button", class: "quiet", textContent: "Cancel this request", hidden: true });
  cancel.addEventListener("click", async () => {
    try {
      await call("DELETE", `/runner/requests/${encodeURIComponent(id)}`);
      announce("Cancelled");
      polling.now();
    } catch (failure) {
      complain(error, failure);
    }
  });
  place.replaceChildren(
    h("p", {}, h("a", { href: "#requests", textContent: "← All requests" })),
    h("div", { class: "bar" }, title, state, h("span", { class: "grow" }), cancel),
    error, facts, h("h2", { textContent: "Where the time went" }), phases, texts,
  );
  const polling = poll(async (signal) => {
    const row = await get(`/runner/requests/${encodeURIComponent(id)}`, { signal });
    say(title, row.model ? short(row.model) : row.path);
    mark(state, row);
    cancel.hidden = OVER.has(row.state);
    write(facts, told(row));
    write(phases, spans(row.timings));
    writeTexts(texts, row);
    if (OVER.has(row.state)) polling();
  }, (failure) => {
    complain(error, failure && gone(failure), failure?.status === 404 ? null : () => polling.now());
  });
  return polling;
}

const gone = (error) => (error.status === 404 && !error.isMissing ? { message: "This request isn't kept any more." } : missing(error));

const APIS = { ollama: "Ollama's API", openai: "OpenAI's API", anthropic: "Anthropic's API", llamacpp: "llama-server's API" };

function told(row) {
  const { timings } = row;
  return Object.entries({
    when: fully(row.at),
    asked: [`${row.method} ${row.path}`, APIS[row.dialect]].filter(Boolean).join(", "),
    from: row.client || "–",
    "tokens in": row.prompt_tokens === null ? "–" : `${count(row.prompt_tokens)}${row.cached_tokens ? `, ${count(row.cached_tokens)} of them cached` : ""}`,
    "tokens out": row.completion_tokens === null ? "–" : [count(row.completion_tokens), rate(row.tokens_per_second)].filter(Boolean).join(", "),
    "first token": duration(timings.first_token_ms),
    "all in": duration(timings.total_ms),
    end: row.error ? `${row.error.code}: ${row.error.message}` : [row.stop, row.status].filter(Boolean).join(", ") || "not yet",
    id: row.id,
  });
}

function write(list, pairs) {
  const shown = pairs.map(([name, value]) => `${name}\t${value?.text ?? value}`).join("\n");
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  list.replaceChildren(...pairs.map(([name, value]) => h("div", {}, h("dt", { textContent: name }),
    h("dd", {}, typeof value === "string" ? value : value.element))));
}

function spans(timings) {
  const most = Math.max(1, ...Object.keys(PHASES).map((name) => timings[name] ?? 0));
  return Object.entries(PHASES).map(([name, word]) => {
    const part = h("i", { class: KINDS[name] });
    part.style.width = `${(100 * (timings[name] ?? 0)) / most}%`;
    const text = duration(timings[name]);
    return [word, { text, element: h("span", { class: "phase" }, h("span", { class: "track", "aria-hidden": "true" }, part), h("span", { textContent: text })) }];
  });
}

function writeTexts(place, row) {
  const parts = { Prompt: row.prompt, Thoughts: row.thinking, Answer: row.answer, Calls: row.calls, Request: row.body && JSON.stringify(row.body, null, 2) };
  const given = Object.entries(parts).filter(([, text]) => text);
  const cut = Object.values(row.cut ?? {}).reduce((sum, each) => sum + each, 0);
  const shown = JSON.stringify(given) + row.bodies_off + cut;
  if (place.dataset.shown === shown) return;
  place.dataset.shown = shown;
  place.replaceChildren(...given.map(([name, text]) => textOf(name, text)));
  if (cut) place.append(h("p", { class: "hint", textContent: `${bytes(cut)} of these texts were left out: they are too long to be kept.` }));
  if (!given.length && row.bodies_off) {
    place.append(h("p", { class: "hint" },
      "Prompts and answers aren't kept. To keep them, in memory only, start Runner with ",
      h("code", { textContent: "RUNNER_REQUEST_BODIES=1" }), " or set ", h("code", { textContent: "request_bodies: true" }),
      " in its config.yaml."));
  }
}

function textOf(name, text) {
  const button = h("button", { type: "button", class: "copy", textContent: "Copy", "aria-label": `Copy ${name.toLowerCase()}` });
  button.addEventListener("click", () => copyFrom(button, text));
  return h("section", {}, h("h2", { textContent: name }),
    h("div", { class: "code" }, h("div", { class: "code-head" }, h("span", { textContent: plural(text.length, "character") }), button),
      h("pre", { tabindex: "0", role: "region", "aria-label": name, textContent: text })));
}
