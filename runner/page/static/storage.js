// What this browser keeps: preferences (localStorage) and conversations (IndexedDB), bounded. Works without either.

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
let opening = null;

function open() {
  opening ??= new Promise((resolve) => {
    try {
      const asked = indexedDB.open("runner", 1);
      asked.onupgradeneeded = () => {
        for (const name of ["titles", "conversations"]) asked.result.createObjectStore(name, { keyPath: "id" });
      };
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return opening;
}

async function work(mode, act) {
  const database = await open();
  if (!database) return act(null);
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(["titles", "conversations"], mode);
    let answer;
    act((name) => transaction.objectStore(name), (value) => (answer = value));
    transaction.oncomplete = () => resolve(answer);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
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

export function load(id) {
  return work("readonly", (store, give) => {
    if (!store) return structuredClone(memory.conversations.get(id) ?? null);
    store("conversations").get(id).onsuccess = (event) => give(event.target.result ?? null);
  });
}

/** Keeps a conversation, and drops the oldest ones where they have become too many. */
export async function save(conversation) {
  const kept = structuredClone(conversation);
  const { id, title, updated, model } = kept;
  const row = { id, title, updated, model, size: JSON.stringify(kept).length };
  await work("readwrite", (store) => {
    if (!store) {
      memory.titles.set(id, row);
      memory.conversations.set(id, kept);
      return;
    }
    store("titles").put(row);
    store("conversations").put(kept);
  });
  let size = 0;
  const rows = await titles();
  for (const [index, each] of rows.entries()) {
    size += each.size;
    if (index > 0 && (index >= MOST || size > LARGEST)) await remove(each.id);
  }
}

export function remove(id) {
  return work("readwrite", (store) => {
    if (!store) {
      memory.titles.delete(id);
      memory.conversations.delete(id);
      return;
    }
    store("titles").delete(id);
    store("conversations").delete(id);
  });
}
