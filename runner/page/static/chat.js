// The chat: the conversation that is shown, its messages, and the model that answers.

import { answer } from "/page/answering.js";
import { newId } from "/page/api.js";
import { busy, look, startComposer } from "/page/composer.js";
import { refresh as refreshChats, startChats } from "/page/chats.js";
import { announce, find, h } from "/page/dom.js";
import { Answer, question } from "/page/message.js";
import { changed, NO_OPTIONS, used } from "/page/options.js";
import { chosen, select, startPicker } from "/page/picker.js";
import { preference, prefer, save } from "/page/storage.js";

const IDEAS = ["How do I pull a model?", "How do I stop a model?", "What is a Modelfile?"];
let talk = empty();
let stopping = null; // ends the answer that is coming
let isAtEnd = true;

function empty() {
  return { id: newId(), title: "", created: Date.now(), updated: Date.now(), model: null, messages: [],
    options: { ...NO_OPTIONS, ...preference("options", {}) } };
}

export function startChat() {
  startComposer({
    send: ({ text, images }) => ask(text, images),
    stop,
    isBusy: () => stopping !== null,
    sees: () => chosen()?.capabilities.includes("vision") ?? false,
    model: () => chosen()?.short,
  });
  startPicker((model) => {
    talk.model = model.name;
    look();
    welcome();
  });
  startChats({ open: show, isCurrent: (id) => id === talk.id, fresh: () => show(empty()) });
  find("open-options").addEventListener("click", changeOptions);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && stopping && !document.querySelector("dialog[open]")) stop();
  });
  const thread = find("thread");
  thread.addEventListener("scroll", () => {
    isAtEnd = thread.scrollHeight - thread.scrollTop - thread.clientHeight < 60;
  });
  show(talk);
}

async function changeOptions() {
  const options = await changed(talk.options, chosen()?.capabilities.includes("thinking") ?? true);
  if (options) {
    talk.options = options;
    prefer("options", options);
    if (talk.messages.length) await keep();
  }
  markOptions();
}

function markOptions() {
  const count = used(talk.options);
  find("open-options").classList.toggle("used", count > 0);
  find("open-options").setAttribute("aria-label", count ? `Options of this chat, ${count} set` : "Options of this chat");
}

/** Shows a conversation; the answer that is coming in another is stopped, and kept as far as it came. */
function show(conversation) {
  stop();
  talk = conversation;
  talk.options = { ...NO_OPTIONS, ...talk.options };
  if (talk.model) select(talk.model);
  find("messages").replaceChildren(...talk.messages.map((message, at) => element(message, at)));
  isAtEnd = true;
  welcome();
  markOptions();
  look();
  follow();
  refreshChats();
  find("prompt").focus();
}

function welcome() {
  const model = chosen();
  find("welcome").hidden = talk.messages.length > 0;
  find("welcome-words").textContent = model
    ? `${model.short} answers on this machine. Nothing you write leaves it.`
    : "Nothing you write leaves this machine.";
  const ideas = model?.short === "demo" ? IDEAS : [];
  find("ideas").replaceChildren(
    ...ideas.map((text) => h("button", { type: "button", textContent: text, onclick: () => ask(text, []) })),
  );
}

function element(message, at) {
  if (message.role === "user") return question(message, { edit: (text) => again(at, text) }).element;
  const shown = new Answer(message, { again: () => again(at - 1) });
  shown.finish().then(follow);
  return shown.element;
}

/** Asks the question at this place anew, in other words if any are given; what followed it is gone. */
function again(at, text) {
  if (stopping) stop();
  const { content, images } = talk.messages[at];
  talk.messages.length = at;
  const shown = find("messages");
  while (shown.childElementCount > at) shown.lastElementChild.remove();
  return ask(text ?? content, images ?? []);
}

/** Asks, and returns at once: false if nobody can answer. */
function ask(text, images) {
  const model = chosen();
  if (!model || stopping) return false;
  const message = { role: "user", content: text, images };
  if (!talk.messages.length) talk.title = title(text);
  talk.messages.push(message);
  find("messages").append(element(message, talk.messages.length - 1));
  find("welcome").hidden = true;
  prefer("model", model.name);
  talk.model = model.name;
  isAtEnd = true;
  take(model);
  return true;
}

const title = (text) => text.replace(/\s+/g, " ").trim().slice(0, 60) || "Picture";

async function take(model) {
  const own = (stopping = new AbortController());
  const conversation = talk;
  const message = { role: "assistant", content: "", thinking: "", model: model.name };
  const asked = conversation.messages.map(({ role, content, images }) => ({
    role, content, ...(images?.length ? { images: images.map((image) => image.data) } : {}),
  }));
  conversation.messages.push(message);
  const at = conversation.messages.length - 1;
  const shown = new Answer(message, { again: () => again(at - 1) });
  const began = performance.now();
  find("messages").append(shown.element);
  shown.element.classList.add("coming");
  shown.wait("…");
  busy(true);
  follow();
  await keep(conversation);
  try {
    message.figures = await answer(
      { model: model.name, messages: asked, options: conversation.options,
        thinks: model.capabilities.includes("thinking"), signal: own.signal },
      {
        waiting: (words) => shown.wait(words),
        part: ({ text, thinking }) => {
          if (text && message.thinking && !message.content) message.thought = performance.now() - began;
          message.content += text;
          message.thinking += thinking;
          shown.grow();
          follow();
        },
      },
    );
  } catch (error) {
    if (error.name === "AbortError") message.stopped = true;
    else message.error = error.message;
  }
  if (stopping === own) {
    stopping = null;
    busy(false);
  }
  shown.element.classList.remove("coming");
  await shown.finish({ isNew: true });
  if (message.stopped) announce("Stopped");
  follow();
  await keep(conversation);
}

function stop() {
  stopping?.abort();
  stopping = null;
  busy(false);
}

/** Stays at the end, unless somebody has scrolled up to read. */
function follow() {
  const thread = find("thread");
  if (isAtEnd) thread.scrollTop = thread.scrollHeight;
}

async function keep(conversation = talk) {
  conversation.updated = Date.now();
  try {
    await save(conversation);
  } catch {
    // A full disk of the browser's: the conversation goes on, and is forgotten with the page.
  }
  await refreshChats();
}
