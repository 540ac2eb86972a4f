/** What an answer means, in words. */

import { either, percent } from "./format.js";

/** A breed within this part of the likeliest one's probability is as good a guess. */
const NEAR = 0.5;
/** More candidates than this, or less probability than that, and nothing fits. */
const MOST_CANDIDATES = 3;
const LEAST = 0.15;
const ALMOST_CERTAIN = 0.9;

/**
 * @param {import("./api.js").Answer} answer
 * @param {string} score what the model goes by to call an answer unsure
 * @returns {{kind: "sure" | "near" | "weak" | "none", headline: string, words: string}}
 */
export function verdict({ predictions, unsure }, score) {
  const [best] = predictions;
  const near = predictions.filter((each) => each.probability >= NEAR * best.probability);
  const names = near.map((each) => each.breed);
  if (!unsure) {
    const words =
      near.length > 1
        ? `The likeliest, but ${either(names.slice(1))} is close.`
        : best.probability >= ALMOST_CERTAIN
          ? "The model is almost certain."
          : "The model is fairly sure.";
    return { kind: "sure", headline: best.breed, words };
  }
  if (near.length > MOST_CANDIDATES || best.probability < LEAST) {
    return {
      kind: "none",
      headline: "None of the breeds fits well",
      words: `The nearest is ${best.breed}, with only ${percent(best.probability)}.`,
    };
  }
  if (near.length > 1) {
    return {
      kind: "near",
      headline: `Could be ${either(names)}`,
      words: "The model is unsure: these come nearest.",
    };
  }
  return {
    kind: "weak",
    headline: `Perhaps ${best.breed}`,
    words:
      score === "probability"
        ? `The model is unsure: it gives this breed only ${percent(best.probability)}.`
        : // However probable: the other scores are low for what is unlike the photos of training.
          "The model is unsure: this photo may be unlike those that it has learnt from.",
  };
}
