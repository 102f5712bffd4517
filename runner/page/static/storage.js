// What this browser keeps: preferences (localStorage) and conversations (IndexedDB), bounded. Works without either.
// Other tabs keep the same conversations: none writes over what another wrote, or brings back what another deleted.

const MOST = 100; // conversations
const LARGEST = 100_000_000; // characters of all of them together, images included

export function preference(name, otherwise = null) {
  try {
    return JSON.parse(localStorage.getItem(`runner.${name}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function prefer(name, value) {
  try {
    if (value === null) localStorage.removeItem(`runner.${name}`);
    else localStorage.setItem(`runner.${name}`, JSON.stringify(value));
  } catch {
    // A browser that keeps nothing forgets it with the page.
  }
}

const memory = { titles: new Map(), conversations: new Map() };
const followed = new WeakMap(); // a conversation -> when what it follows on was kept
const channel = new BroadcastChannel("runner.conversations");
let opening = null;
let connection = null;
let saving = Promise.resolve();

function open() {
  opening ??= new Promise((resolve) => {
    try {
      const asked = indexedDB.open("runner", 1);
      asked.onupgradeneeded = () => {
        for (const name of ["titles", "conversations"]) asked.result.createObjectStore(name, { keyPath: "id" });
      };
      asked.onsuccess = () => resolve(connected(asked.result));
      asked.onerror = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return opening;
}

function connected(database) {
  connection = database;
  database.onclose = () => connection === database && lost(); // the site's data were cleared
  database.onversionchange = () => {
    database.close();
    database.onclose();
  };
  return database;
}

const lost = () => (opening = connection = null);

async function work(mode, act) {
  try {
    return await once(mode, act);
  } catch (error) {
    if (error?.name !== "InvalidStateError") throw error;
    lost(); // the connection was closed under us: another does
    return once(mode, act);
  }
}

async function once(mode, act) {
  const database = await open();
  if (!database) return act(null);
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(["titles", "conversations"], mode);
    let answer;
    act((name) => transaction.objectStore(name), (value) => (answer = value));
    transaction.oncomplete = () => resolve(answer);
    transaction.onabort = transaction.onerror = () => reject(transaction.error ?? new Error("the browser gave up"));
  });
}

/** Titles of all conversations, the latest first. */
export async function titles() {
  const all = await work("readonly", (store, give) => {
    if (!store) return [...memory.titles.values()];
    store("titles").getAll().onsuccess = (event) => give(event.target.result);
  });
  return all.sort((one, other) => other.updated - one.updated);
}

export async function load(id) {
  const found = await work("readonly", (store, give) => {
    if (!store) return structuredClone(memory.conversations.get(id) ?? null);
    store("conversations").get(id).onsuccess = (event) => give(event.target.result ?? null);
  });
  if (found) followed.set(found, found.updated);
  return found;
}

/**
 * Keeps a conversation, and drops the oldest ones where they have become too many. Gives "kept"; or "gone" for one that
 * was deleted, and "other" for one that went on in another tab: nothing is written then. `isPart`: more follows soon.
 */
export function save(conversation, { isPart = false } = {}) {
  const mine = saving.then(() => write(conversation, isPart));
  saving = mine.catch(() => {});
  return mine;
}

/** The conversation as it is kept, and its row in the list. */
function copied(conversation) {
  const kept = structuredClone(conversation);
  const { id, title, model } = kept;
  const updated = (kept.updated = Date.now());
  return { kept, row: { id, title, updated, model, size: JSON.stringify(kept).length } };
}

async function write(conversation, isPart) {
  const { kept, row } = copied(conversation);
  const { id } = kept;
  const before = followed.get(conversation);
  const verdict = (found) => (found?.updated === before ? "kept" : found ? "other" : "gone");
  const outcome = await work("readwrite", (store, give) => {
    if (!store) {
      const said = verdict(memory.titles.get(id));
      if (said !== "kept") return said;
      memory.titles.set(id, row);
      memory.conversations.set(id, kept);
      return said;
    }
    store("titles").get(id).onsuccess = (event) => {
      const said = verdict(event.target.result);
      give(said);
      if (said !== "kept") return;
      store("titles").put(row);
      store("conversations").put(kept);
    };
  });
  if (outcome !== "kept") return outcome;
  followed.set(conversation, Math.max(row.updated, followed.get(conversation) ?? 0));
  if (isPart) return outcome;
  channel.postMessage({ id });
  await trim();
  return outcome;
}

/** Keeps a conversation of this tab at once, for a page that is going: nothing is awaited, nothing said. */
export function saveLast(conversation) {
  if (!connection || !followed.has(conversation)) return;
  try {
    const { kept, row } = copied(conversation);
    const transaction = connection.transaction(["titles", "conversations"], "readwrite");
    transaction.objectStore("titles").put(row);
    transaction.objectStore("conversations").put(kept);
    transaction.commit();
    followed.set(conversation, row.updated);
  } catch {
    // What was kept a moment ago has to do.
  }
}

/** Makes it one that was never kept: with another id it stands beside what another tab made of it. */
export const detach = (conversation) => followed.delete(conversation);

/** `act({id, isGone})` is called when another tab has kept or deleted a conversation. */
export function watchOthers(act) {
  channel.addEventListener("message", (event) => act(event.data));
}

async function trim() {
  let size = 0;
  const rows = await titles();
  for (const [index, each] of rows.entries()) {
    size += each.size;
    if (index > 0 && (index >= MOST || size > LARGEST)) await remove(each.id);
  }
}

export async function remove(id) {
  await work("readwrite", (store) => {
    if (!store) {
      memory.titles.delete(id);
      memory.conversations.delete(id);
      return;
    }
    store("titles").delete(id);
    store("conversations").delete(id);
  });
  channel.postMessage({ id, isGone: true });
}
