/** Which models are served, and which of them is asked. */

import * as api from "./api.js";
import { announce } from "./announce.js";

const FIRST_WAIT_MS = 2000;
const LONGEST_WAIT_MS = 30_000;

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const select = /** @type {HTMLSelectElement} */ (byId("model"));

/** @type {api.Models | null} null while no model is there */
let served = JSON.parse(document.body.dataset.models ?? "null");
if (!served?.models.length) served = null;
let wait = FIRST_WAIT_MS;

/** Show what is served, and look again and again while nothing is. */
export function start() {
  select.addEventListener("change", showNotice);
  byId("service-again").addEventListener("click", look);
  if (served) showNotice();
  else setTimeout(look, wait);
}

/** @param {string} name @returns {api.Model | null} */
export function named(name) {
  return served?.models.find((model) => model.name === name) ?? null;
}

/**
 * The model to ask. The default's name is left out of a request, so that it stays the default when
 * another version becomes it.
 * @returns {{model: api.Model | null, options: Record<string, string>}}
 */
export function chosen() {
  const { model: name, version } = select.selectedOptions[0]?.dataset ?? {};
  const model = named(name ?? served?.default ?? "");
  if (!name || !version || !model) return { model, options: {} };
  if (version !== model.default) return { model, options: { model: name, version } };
  return { model, options: name === served?.default ? {} : { model: name } };
}

async function look() {
  let found;
  try {
    found = await api.models();
  } catch {
    found = null;
  }
  if (served) return; // the button and the clock may both have asked
  if (!found?.models.length) {
    wait = Math.min(wait * 1.5, LONGEST_WAIT_MS);
    setTimeout(look, wait);
    return;
  }
  served = found;
  byId("service").hidden = true;
  showPicker(found);
  showNotice();
  announce("The model is running again.");
}

/** @param {api.Models} models */
function showPicker(models) {
  const options = models.models.flatMap((model) =>
    model.versions.map((version) => {
      const isDefault = model.name === models.default && version === model.default;
      const option = new Option(`${model.name} ${version}`, "", isDefault, isDefault);
      Object.assign(option.dataset, { model: model.name, version });
      return option;
    }),
  );
  select.replaceChildren(...options);
  byId("model-picker").hidden = options.length < 2;
  byId("model-name").textContent = options.length === 1 ? options[0].text : "";
}

/** What is to be known of the chosen model. */
function showNotice() {
  const { model } = chosen();
  byId("notice").hidden = !model;
  if (!model) return;
  byId("notice-use").textContent = model.intended_use;
  const items = model.limitations.map((limitation) => {
    const item = document.createElement("li");
    item.textContent = limitation;
    return item;
  });
  byId("notice-limits").replaceChildren(...items);
}
