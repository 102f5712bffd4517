// One question to a model: its stream, and what can be said while nothing has come yet. Knows no element.

import { get, newId, stream } from "/page/api.js";
import { duration, ordinal, short } from "/page/format.js";
import { asked } from "/page/options.js";

const PATIENCE = 350; // ms without a word before one looks why

/**
 * Asks, and calls `on.part({text, thinking})` for what comes, `on.waiting(words)` while nothing does. Returns the
 * answer's figures. Throws a Failure, or an AbortError when `signal` stops it.
 */
export async function answer({ model, messages, options, thinks, signal }, on) {
  const id = newId();
  const began = performance.now();
  const watching = watch(id, model, on.waiting);
  const said = options.system.trim() ? [{ role: "system", content: options.system }, ...messages] : messages;
  let first = null;
  try {
    for await (const line of stream("/api/chat", { model, messages: said, ...asked(options, thinks) }, { signal, id })) {
      const { content = "", thinking = "" } = line.message ?? {};
      if (content || thinking) {
        watching.abort();
        first ??= performance.now() - began;
        on.part({ text: content, thinking });
      }
      if (line.done) return figures(line, first, performance.now() - began);
    }
  } finally {
    watching.abort();
  }
  return { reason: "broken off", total: performance.now() - began };
}

function figures(line, first, total) {
  const seconds = (line.eval_duration ?? 0) / 1e9;
  return {
    prompt: line.prompt_eval_count ?? 0,
    cached: line.prompt_eval_cached_count ?? 0,
    tokens: line.eval_count ?? 0,
    rate: seconds > 0 ? line.eval_count / seconds : 0,
    load: (line.load_duration ?? 0) / 1e6,
    reason: line.done_reason,
    first,
    total,
  };
}

/** Says why nothing has come: a place in the queue, a load with its progress, or a long prompt. */
function watch(id, model, say) {
  const end = new AbortController();
  let timer = setTimeout(look, PATIENCE);
  end.signal.addEventListener("abort", () => clearTimeout(timer));

  async function look() {
    const [queue, loaded] = await Promise.all(
      ["/runner/queue", "/api/ps"].map((path) => get(path, { signal: end.signal }).catch(() => null)),
    );
    if (end.signal.aborted) return;
    say(reason(id, model, queue, loaded));
    timer = setTimeout(look, 1000);
  }

  return end;
}

function reason(id, model, queue, loaded) {
  const full = model.includes(":") ? model : `${model}:latest`;
  const its = loaded?.models?.find((each) => each.name === full || each.name === model);
  if (its?.state === "loading") {
    const part = its.progress > 0 && its.progress < 1 ? ` ${Math.round(100 * its.progress)} %` : "";
    return `Loading ${short(model)}${part}`;
  }
  const mine = queue?.waiting?.find((each) => each.id === id);
  if (mine) {
    const about = mine.eta_ms ? `, about ${duration(mine.eta_ms)}` : "";
    return mine.position === null ? "In the queue" : `${ordinal(Math.max(1, mine.position))} in the queue${about}`;
  }
  if (its?.state === "queued") return `Waiting for room to load ${short(model)}`;
  if (its?.state === "paused") return its.status;
  return "Reading the prompt";
}
