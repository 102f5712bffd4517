// The daemon, as promises and streams. Errors come as Failure with the daemon's own words.

import { askKey, keyHeaders } from "/page/key.js";

export class Failure extends Error {
  constructor(message, status = 0, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** The endpoint isn't there: an older daemon. */
  get isMissing() {
    return this.status === 404 && this.code === "not_found" && this.message.startsWith("there is no /");
  }
}

/** Random enough to tell requests apart; `crypto.randomUUID` is missing where the page came over plain HTTP. */
export function newId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((each) => each.toString(16).padStart(2, "0")).join("");
}

async function ask(method, path, body, { signal, id } = {}) {
  for (;;) {
    const headers = { ...keyHeaders() };
    if (body !== undefined || method !== "GET") headers["Content-Type"] = "application/json";
    if (id) headers["X-Request-Id"] = id;
    let response;
    try {
      const sent = body === undefined ? undefined : JSON.stringify(body);
      response = await fetch(path, { method, headers, body: sent, signal, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure("Runner doesn't answer. Is it still running? `runner serve` starts it.");
    }
    if (response.ok) return response;
    const failure = await failureOf(response);
    if (failure.status !== 401) throw failure;
    if (!(await askKey(headers.Authorization))) throw new Failure("Runner answers only with its API key.", 401, failure.code);
  }
}

async function failureOf(response) {
  try {
    const { error, code } = await response.json();
    return new Failure(String(error), response.status, code);
  } catch {
    return new Failure(`Runner answered ${response.status}`, response.status);
  }
}

/** The whole JSON answer; null where there is none. */
export async function call(method, path, body, options) {
  const text = await (await ask(method, path, body, options)).text();
  return text ? JSON.parse(text) : null;
}

export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body, options) => call("POST", path, body, options);

/** The lines of a stream as they come. A line that is an error ends it with a Failure. */
export async function* stream(path, body, options) {
  const response = await ask("POST", path, body, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines.filter(Boolean)) {
        const said = JSON.parse(line);
        if (said.error) throw new Failure(String(said.error), response.status, said.code);
        yield said;
      }
    }
  } catch (error) {
    if (error instanceof Failure || error.name === "AbortError") throw error;
    throw new Failure("The connection to Runner broke off.");
  } finally {
    reader.cancel().catch(() => {});
  }
}
