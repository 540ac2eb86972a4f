/** The page at work: photos come in, and each gets a card with what became of it. */

import { announce } from "./announce.js";
import { Card } from "./card.js";
import { takeIn } from "./intake.js";
import * as models from "./models.js";
import { Queue } from "./queue.js";

const SENT_AT_ONCE = 3;
const { photos: MOST_PHOTOS } = JSON.parse(document.body.dataset.limits ?? "{}");

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const queue = new Queue(SENT_AT_ONCE);
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** @type {Card[]} newest first */
let cards = [];

/** @param {import("./intake.js").Source[]} photos */
function add(photos) {
  if (photos.length > MOST_PHOTOS) {
    tell(`Only the first ${MOST_PHOTOS} of these ${photos.length} photos were taken.`);
  } else {
    tell("");
  }
  const added = photos.slice(0, MOST_PHOTOS).map((photo) => new Card(photo, queue, changed));
  cards = [...added, ...cards];
  byId("blank")?.remove();
  byId("cards").prepend(...added.map((card) => card.element));
  for (const card of added) card.start();
  const answers = byId("answers");
  // Beside the form it is in view already; below it, it is not.
  if (answers.getBoundingClientRect().top > innerHeight / 2) {
    answers.scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
  }
}

/** @param {Card} card */
function changed(card) {
  if (card.isRemoved && cards.includes(card)) {
    const at = cards.indexOf(card);
    cards = cards.filter((each) => each !== card);
    const next = cards[Math.min(at, cards.length - 1)];
    const hadFocus = card.element.contains(document.activeElement);
    card.element.remove();
    if (hadFocus) (next?.element ?? byId("answers")).focus();
  }
  byId("clear").hidden = cards.length < 2;
  byId("retry-all").hidden = cards.filter((each) => each.failed).length < 2;
}

/** @param {string} words */
function tell(words) {
  const line = byId("told");
  line.textContent = words;
  line.hidden = !words;
  if (words) announce(words);
}

/** @param {(slug: string) => boolean} which */
function retry(which) {
  for (const card of cards) if (card.failed && which(card.failed)) card.start();
}

models.start();
takeIn(add, tell);
byId("clear").onclick = () => {
  for (const card of [...cards]) card.remove();
  byId("answers").focus();
};
byId("retry-all").onclick = () => retry(() => true);
addEventListener("online", () => retry((slug) => slug === "offline"));
