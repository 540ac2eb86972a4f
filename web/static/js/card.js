/** One photo on the page: its preview, and what became of it. */

import { announce } from "./announce.js";
import { Problem, post } from "./api.js";
import { copy } from "./clipboard.js";
import { curlLine } from "./curl.js";
import { downscaled, hangsByLittle } from "./downscale.js";
import { ExplanationPanel } from "./explanation.js";
import { duration, percent, size } from "./format.js";
import * as models from "./models.js";
import { textsOf } from "./problems.js";
import { verdict } from "./verdict.js";

const BREEDS = 5;
/** So often a busy server is asked again without a click, after the time that it names. */
const PATIENT_TRIES = 4;
const LONGEST_WAIT_S = 20;
const COPIED_MS = 2000;

const { bytes: MOST_BYTES } = JSON.parse(document.body.dataset.limits ?? "{}");

const clone = (/** @type {string} */ id) => {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById(id));
  return /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
};

export class Card {
  #source;
  #queue;
  #onChange;
  #removed = new AbortController();
  #preview = "";
  /** @type {Blob | null} */
  #photo = null;
  /** @type {Promise<{width: number, height: number} | null>} */
  #size = Promise.resolve(null);
  /** @type {string | null} the slug of a problem where another try may help */
  failed = null;

  /**
   * @param {import("./intake.js").Source} source
   * @param {import("./queue.js").Queue} queue
   * @param {(card: Card) => void} onChange it is done, has failed, or was removed
   */
  constructor(source, queue, onChange) {
    this.#source = source;
    this.#queue = queue;
    this.#onChange = onChange;
    this.element = clone("card-template");
    this.#find(".name bdi").textContent = source.name;
    this.#find(".remove .hidden").textContent = `Remove ${source.name}`;
    this.#find(".remove").onclick = () => this.remove();
    this.#find(".again").onclick = () => this.start();
    const rows = Array.from({ length: BREEDS }, () => clone("breed-template"));
    this.#find(".breeds").replaceChildren(...rows);
  }

  get isRemoved() {
    return this.#removed.signal.aborted;
  }

  /** Show the photo and ask about it; again after a problem. */
  async start() {
    if (this.element.contains(document.activeElement)) this.element.focus(); // "again" goes away
    this.failed = null;
    this.#say("waiting", "Waiting for its turn…");
    this.#onChange(this);
    try {
      if (!this.#photo) {
        this.#photo = await this.#source.open();
        this.#size = this.#show(this.#photo);
      }
      const photo = this.#photo;
      this.#queue.add(() => this.#ask(photo).catch((error) => this.#fail(error)));
    } catch (error) {
      this.#fail(error);
    }
  }

  remove() {
    this.#removed.abort();
    URL.revokeObjectURL(this.#preview);
    this.#onChange(this);
  }

  /** @param {Blob} photo */
  async #show(photo) {
    this.#preview = URL.createObjectURL(photo);
    const image = new Image();
    image.className = "photo";
    image.alt = `Photo ${this.#source.name}`;
    image.src = this.#preview;
    try {
      await image.decode();
    } catch {
      this.#find(".no-preview").hidden = false;
      return null;
    }
    const { naturalWidth: width, naturalHeight: height } = image;
    this.#find(".stage").style.setProperty("--ratio", String(width / height));
    this.#find(".stage").prepend(image);
    return { width, height };
  }

  /** @param {Blob} photo */
  async #ask(photo) {
    if (this.isRemoved) return;
    const { model, options } = models.chosen();
    this.#say("sending", "Sending…");
    let sent = await this.#toSend(photo, model);
    if (sent.size > MOST_BYTES) {
      throw new Problem("too-large", { words: `This file has ${size(photo.size)}.` });
    }
    let { answer, ms } = await this.#patiently(sent, options);
    const isCopy = sent !== photo && model !== null && photo.size <= MOST_BYTES;
    if (isCopy && hangsByLittle(answer, model.unsure_threshold)) {
      sent = photo;
      ({ answer, ms } = await this.#patiently(sent, options));
    }
    const note = sent === photo ? "" : `, sent as a smaller copy of ${size(sent.size)}`;
    const took = `${duration(ms)}, ${duration(answer.timing_ms.inference)} of it in the model`;
    this.#find(".meta").textContent = `${answer.model} ${answer.version} answered in ${took}${note}.`;
    this.#succeed(answer, options);
    const subject = { photo: sent, answer, model: models.named(answer.model), size: await this.#size };
    new ExplanationPanel(this.element, subject);
  }

  /**
   * A smaller copy, where it can be told from its answer whether the photo itself has to be asked
   * about. With other scores than the probability it cannot, as the answer does not have them; then
   * only a photo that is too large to be sent is made smaller.
   * @param {Blob} photo
   * @param {import("./api.js").Model | null} model
   */
  async #toSend(photo, model) {
    if (!model) return photo;
    const isTold = model.unsure_score === "probability";
    return isTold || photo.size > MOST_BYTES ? downscaled(photo, model.input) : photo;
  }

  /**
   * Ask, and where the server is busy ask again.
   * @param {Blob} photo
   * @param {Record<string, string>} options
   */
  async #patiently(photo, options) {
    const { signal } = this.#removed;
    const onProgress = (/** @type {number} */ share) => {
      if (share < 1) this.#say("sending", `Sending… ${Math.round(share * 100)}%`, share);
      else this.#say("thinking", "Looking at it…");
    };
    for (let left = PATIENT_TRIES; ; left -= 1) {
      try {
        return await post("classify", photo, options, { signal, onProgress });
      } catch (error) {
        const isBusy = error instanceof Problem && ["overloaded", "rate-limited"].includes(error.slug);
        if (!isBusy || !left || error.retryAfter > LONGEST_WAIT_S) throw error;
        this.#say("waiting", "The server is busy; waiting a little…");
        await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter || 1)));
        signal.throwIfAborted();
      }
    }
  }

  /** @param {string} state @param {string} words @param {number} [share] of the upload, 0..1 */
  #say(state, words, share) {
    this.element.dataset.state = state;
    this.#find(".breeds").ariaHidden = state === "done" ? null : "true"; // rows that are still empty
    this.#find(".problem").hidden = true;
    this.#find(".outcome").hidden = false;
    this.#find(".verdict h4").textContent = words;
    this.#find(".verdict p").textContent = "";
    const bar = /** @type {HTMLProgressElement} */ (this.#find("progress"));
    bar.hidden = share === undefined;
    bar.value = share ?? 0;
  }

  /**
   * @param {import("./api.js").Answer} answer
   * @param {Record<string, string>} options that were asked with
   */
  #succeed(answer, options) {
    const score = models.named(answer.model)?.unsure_score ?? "probability";
    const { kind, headline, words } = verdict(answer, score);
    this.#say("done", headline);
    this.#find(".verdict p").textContent = words;
    this.element.dataset.verdict = kind;
    const rows = answer.predictions.map(({ breed, probability }) => {
      const row = clone("breed-template");
      const part = (/** @type {string} */ what) => /** @type {any} */ (row.querySelector(what));
      part(".breed").textContent = breed;
      part(".percent").textContent = percent(probability);
      part("meter").value = probability;
      return row;
    });
    this.#find(".breeds").replaceChildren(...rows);
    const { name, example } = this.#source;
    const line = curlLine({ origin: location.origin, name, options, example });
    this.#offerCopy(".copy-json", JSON.stringify(answer, null, 2));
    this.#offerCopy(".copy-curl", line);
    const likeliest = percent(answer.predictions[0].probability);
    announce(`${name}: ${headline}, ${likeliest}. ${words}`);
    this.#onChange(this);
  }

  /** @param {string} what @param {string} text */
  #offerCopy(what, text) {
    const button = this.#find(what);
    const label = button.textContent;
    button.disabled = false;
    button.onclick = async () => {
      const words = (await copy(text)) ? "Copied" : "Not allowed";
      button.textContent = words;
      announce(words);
      setTimeout(() => (button.textContent = label), COPIED_MS);
    };
  }

  /** @param {unknown} error */
  #fail(error) {
    if (this.isRemoved) return;
    const problem = error instanceof Problem ? error : new Problem("bad-answer", { detail: String(error) });
    const { title, advice: general, again } = textsOf(problem.slug);
    const advice = `${problem.words} ${general}`.trim();
    this.element.dataset.state = "problem";
    this.#find(".outcome").hidden = true;
    this.#find(".problem").hidden = false;
    this.#find(".problem h4").textContent = title;
    this.#find(".problem .advice").textContent = advice;
    const id = problem.requestId ? `Request ${problem.requestId}` : "";
    this.#find(".problem .detail").textContent = [problem.detail, id].filter(Boolean).join(" ");
    this.#find(".again").hidden = !again;
    this.failed = again ? problem.slug : null;
    announce(`${this.#source.name}: ${title} ${advice}`);
    this.#onChange(this);
  }

  /** @param {string} what @returns {any} */
  #find(what) {
    return this.element.querySelector(what);
  }
}
