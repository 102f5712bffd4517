// The chat: the conversation that is shown, its messages, and the model that answers.

import { answer } from "/page/answering.js";
import { newId } from "/page/api.js";
import { busy, look, notice, startComposer } from "/page/composer.js";
import { refresh as refreshChats, startChats } from "/page/chats.js";
import { announce, find, h } from "/page/dom.js";
import { Answer, question } from "/page/message.js";
import { changed, NO_OPTIONS, used } from "/page/options.js";
import { chosen, refresh as refreshPicker, select, startPicker } from "/page/picker.js";
import { detach, load, preference, prefer, save, saveLast, watchOthers } from "/page/storage.js";

const IDEAS = ["How do I pull a model?", "How do I stop a model?", "What is a Modelfile?"];
const PACE = 1500; // ms between two keepings of an answer that is coming
const NOT_KEPT = {
  gone: "This chat was deleted and isn't kept any more. A new chat is.",
  other: "This chat went on in another tab. From here on it is kept as one of its own.",
  full: "This browser has no room; this chat won't be kept.",
  broken: "This browser keeps nothing; this chat won't be kept.",
};
let talk = empty();
let stopping = null; // ends the answer that is coming
let taking = Promise.resolve(); // until the latest answer has ended and is kept
let warned = ""; // what was said of this chat's keeping
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
  startChats({ open: show, isCurrent: (id) => id === talk.id, fresh: () => show(empty()), stopped });
  watchOthers(heard);
  window.addEventListener("pagehide", () => stopping && saveLast(talk));
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
  warned = "";
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
  if (!chosen()) return noModel(); // before anything is lost
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
  if (!model) return noModel();
  if (stopping) return false;
  const message = { role: "user", content: text, images };
  if (!talk.messages.length) talk.title = title(text);
  talk.messages.push(message);
  find("messages").append(element(message, talk.messages.length - 1));
  find("welcome").hidden = true;
  prefer("model", model.name);
  talk.model = model.name;
  isAtEnd = true;
  taking = take(model);
  return true;
}

/** Says that nobody can answer, and looks whether somebody can by now. False. */
function noModel() {
  notice("There is no model that could answer. ", h("a", { href: "#models", textContent: "Pull one under Models" }));
  refreshPicker().catch(() => {});
  return false;
}

const title = (text) => text.replace(/\s+/g, " ").trim().slice(0, 60) || "Picture";

/**
 * What the model is told. An answer that never came is nothing that it said; the question before and the next one are
 * one then, since many templates refuse turns that don't alternate.
 */
function told(messages) {
  const turns = [];
  for (const { role, content, images = [] } of messages) {
    if (role === "assistant" && !content) continue;
    const pictures = images.map((image) => image.data);
    const last = turns.at(-1);
    if (last?.role !== role) turns.push({ role, content, images: pictures });
    else {
      last.content = [last.content, content].filter(Boolean).join("\n\n");
      last.images.push(...pictures);
    }
  }
  return turns.map(({ images, ...turn }) => (images.length ? { ...turn, images } : turn));
}

/** Gets the answer; done when it is kept. What is shown of it may be made beautiful a moment later. */
async function take(model) {
  const own = (stopping = new AbortController());
  const conversation = talk;
  const message = { role: "assistant", content: "", thinking: "", model: model.name };
  const asked = told(conversation.messages);
  conversation.messages.push(message);
  const at = conversation.messages.length - 1;
  const shown = new Answer(message, { again: () => again(at - 1) });
  const began = performance.now();
  find("messages").append(shown.element);
  shown.element.classList.add("coming");
  shown.wait("…");
  busy(true);
  follow();
  const keeping = keepOn(conversation, own);
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
  clearTimeout(keeping.timer);
  if (stopping === own) {
    stopping = null;
    busy(false);
  }
  shown.element.classList.remove("coming");
  shown.finish({ isNew: true }).then(follow);
  if (message.stopped) announce("Stopped");
  await keep(conversation);
}

/** Keeps the question now and what comes every now and then, so that a page that dies takes little with it. */
function keepOn(conversation, own) {
  const keeping = { timer: 0 };
  const turn = async () => {
    const began = performance.now();
    await keep(conversation, { isPart: true });
    const pause = PACE + 10 * (performance.now() - began); // pictures are large
    if (stopping === own) keeping.timer = setTimeout(turn, pause);
  };
  turn().then(refreshChats);
  return keeping;
}

function stop() {
  stopping?.abort();
  stopping = null;
  busy(false);
}

async function stopped() {
  stop();
  await taking;
}

/** Another tab has kept or deleted a conversation. */
async function heard({ id, isGone }) {
  if (id !== talk.id) return refreshChats();
  if (isGone) {
    await stopped();
    return show(empty());
  }
  if (stopping || document.querySelector(".message form")) return refreshChats();
  const found = await load(id).catch(() => null);
  if (found && id === talk.id && !stopping) show(found);
}

/** Stays at the end, unless somebody has scrolled up to read. */
function follow() {
  const thread = find("thread");
  if (isAtEnd) thread.scrollTop = thread.scrollHeight;
}

/** Keeps a conversation. Where it can't be, that is said once and the conversation goes on. */
async function keep(conversation = talk, { isPart = false } = {}) {
  let trouble = "";
  try {
    trouble = await save(conversation, { isPart });
    if (trouble === "other") {
      detach(conversation);
      conversation.id = newId();
      await save(conversation);
    }
    if (!isPart || trouble === "other") await refreshChats();
  } catch (error) {
    trouble = error?.name === "QuotaExceededError" ? "full" : "broken";
  }
  if (conversation !== talk || trouble === warned) return;
  if (trouble !== "kept") notice(NOT_KEPT[trouble]);
  warned = trouble;
}
