// The box in which a question is written: text, pictures, and its buttons. Knows nothing of conversations.

import { find, h } from "/page/dom.js";
import { picture, source } from "/page/images.js";

const MOST_PICTURES = 8;
let pictures = [];
let sees = () => false;
let model = () => "";

/** `on.send({text, images})` for a question, `on.stop()`; `on.sees()` says whether the model has eyes. */
export function startComposer(on) {
  const field = find("prompt");
  sees = on.sees;
  model = on.model;
  find("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send(field, on);
  });
  find("stop").addEventListener("click", on.stop);
  field.addEventListener("input", () => fit(field));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send(field, on);
    }
  });
  startPictures(field);
}

function send(field, on) {
  const text = field.value.trim();
  if ((!text && !pictures.length) || on.isBusy()) return;
  if (pictures.length && !sees()) return notice(blind());
  const images = pictures;
  if (!on.send({ text, images })) return;
  field.value = "";
  take([]);
  fit(field);
}

/** While an answer comes there is a button to stop it in the place of the one to send. */
export function busy(is) {
  const hadFocus = [find("send"), find("stop")].includes(document.activeElement);
  find("send").hidden = is;
  find("stop").hidden = !is;
  if (hadFocus) (is ? find("stop") : find("prompt")).focus();
}

/** Says something above the box, "" for nothing; `more` are elements that follow the words. */
export function notice(words, ...more) {
  const place = find("composer-notice");
  place.replaceChildren(words, ...more);
  place.hidden = !words;
}

/** Another model was chosen: what was said of pictures may not hold any more. */
export function look() {
  notice(pictures.length && !sees() ? blind() : "");
}

const blind = () => `${model() || "This model"} can't see pictures. Choose a model with vision, or leave them out.`;

function fit(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

function startPictures(field) {
  const file = find("image-file");
  find("add-image").addEventListener("click", () => (sees() ? file.click() : notice(blind())));
  file.addEventListener("change", () => {
    add([...file.files]);
    file.value = "";
  });
  field.addEventListener("paste", (event) => {
    const found = [...event.clipboardData.files].filter((each) => each.type.startsWith("image/"));
    if (!found.length) return;
    event.preventDefault();
    add(found);
  });
  const place = find("talk");
  place.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    place.classList.add("dropping");
  });
  place.addEventListener("dragleave", () => place.classList.remove("dropping"));
  place.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    place.classList.remove("dropping");
    add([...event.dataTransfer.files]);
  });
}

async function add(files) {
  if (!sees()) return notice(blind());
  notice("");
  for (const file of files) {
    if (pictures.length >= MOST_PICTURES) return notice(`At most ${MOST_PICTURES} pictures go with one message.`);
    try {
      const made = await picture(file);
      take([...pictures, made]);
    } catch (error) {
      notice(error.message);
    }
  }
}

function take(images) {
  pictures = images;
  const place = find("thumbs");
  place.hidden = !images.length;
  place.replaceChildren(
    ...images.map((image) =>
      h("li", {},
        h("img", { src: source(image), alt: image.name }),
        h("button", {
          type: "button", "aria-label": `Remove ${image.name}`, textContent: "×",
          onclick: () => {
            take(pictures.filter((each) => each !== image));
            look();
            find("prompt").focus();
          },
        })),
    ),
  );
}
