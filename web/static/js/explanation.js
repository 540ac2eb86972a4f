/** "Why?": the heat map over a photo, for one of the breeds that were named. */

import { announce } from "./announce.js";
import { Problem, post } from "./api.js";
import { percent } from "./format.js";
import { placement, told } from "./placement.js";
import { textsOf } from "./problems.js";

/**
 * @typedef {object} Subject
 * @property {Blob} photo as it was sent
 * @property {import("./api.js").Answer} answer
 * @property {import("./api.js").Model | null} model that answered, where it is known
 * @property {{width: number, height: number} | null} size null where the browser cannot show it
 */

/** The panel of one card. */
export class ExplanationPanel {
  #subject;
  #button;
  #panel;
  #select;
  #words;
  #heat;
  #stage;
  /** @type {Map<string, Promise<import("./api.js").Explanation>>} */
  #explanations = new Map();

  /** @param {HTMLElement} card @param {Subject} subject */
  constructor(card, subject) {
    const find = (/** @type {string} */ what) => /** @type {any} */ (card.querySelector(what));
    this.#subject = subject;
    this.#button = find(".why");
    this.#panel = find(".explanation");
    this.#select = find(".explanation select");
    this.#words = find(".explanation .words");
    this.#heat = find(".heat");
    this.#stage = find(".stage");
    this.#button.disabled = false;
    this.#button.onclick = () => this.#toggle();
    this.#select.onchange = () => this.#show();
    const options = subject.answer.predictions.map(
      ({ breed, class_id, probability }) =>
        new Option(`${breed} (${percent(probability)})`, String(class_id)),
    );
    this.#select.replaceChildren(...options);
  }

  #toggle() {
    const open = this.#panel.hidden;
    this.#panel.hidden = !open;
    this.#button.setAttribute("aria-expanded", String(open));
    if (open) this.#show();
    else this.#hideMap();
  }

  #hideMap() {
    this.#heat.hidden = true;
    this.#stage.classList.remove("explained");
  }

  async #show() {
    const classId = this.#select.value;
    const isWanted = () => !this.#panel.hidden && this.#select.value === classId;
    this.#words.textContent = "Looking closely…";
    this.#panel.scrollIntoView({ block: "nearest" });
    try {
      const explanation = await this.#explanation(classId);
      if (isWanted()) await this.#lay(explanation);
    } catch (error) {
      this.#explanations.delete(classId);
      if (!isWanted()) return;
      this.#hideMap();
      const { title, advice } = textsOf(error instanceof Problem ? error.slug : "bad-answer");
      this.#words.textContent = `${title} ${advice}`;
    }
    announce(this.#words.textContent);
  }

  /** @param {string} classId */
  #explanation(classId) {
    const { photo, answer } = this.#subject;
    let asked = this.#explanations.get(classId);
    if (!asked) {
      const options = { model: answer.model, version: answer.version, class: classId };
      asked = post("explain", photo, options).then(({ answer }) => answer);
      this.#explanations.set(classId, asked);
    }
    return asked;
  }

  /** @param {import("./api.js").Explanation} explanation */
  async #lay(explanation) {
    const { model, size } = this.#subject;
    const map = this.#heat;
    map.src = `data:image/png;base64,${explanation.heatmap}`;
    await map.decode();
    // Without a preview the map stands alone, as the network's input does.
    const box = size && model ? placement(size.width, size.height, model.input) : null;
    for (const side of /** @type {const} */ (["left", "top", "width", "height"])) {
      map.style[side] = box ? `${100 * box[side]}%` : "";
    }
    const cropped = box !== null && (box.width < 1 || box.height < 1);
    map.classList.toggle("cropped", cropped);
    const words = told(explanation, explanation.class.breed);
    this.#words.textContent = cropped ? `${words} The model saw only what is framed.` : words;
    map.alt = `Heat map of ${explanation.class.breed}. ${words}`;
    map.hidden = false;
    this.#stage.classList.add("explained");
  }
}
