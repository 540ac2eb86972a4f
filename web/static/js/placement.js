/** Where a heat map lies on its photo, and what it shows, in words. */

/** @typedef {{left: number, top: number, width: number, height: number}} Box parts of the photo, 0..1 */

const ROWS = ["top", "middle", "bottom"];
const COLUMNS = ["left", "centre", "right"];
/** A region with less than this part of it all is not worth a word. */
const WORTH_TELLING = 0.2;

/**
 * The part of a photo that the network saw, rounded as handlers/preprocessing.py does.
 * @param {number} width of the upright photo, px
 * @param {number} height
 * @param {{resize: number | number[], crop: number | null}} input `resize`: the short side, or
 *   [height, width]; `crop`: side of the central square that is kept, null for all
 * @returns {Box}
 */
export function placement(width, height, { resize, crop }) {
  if (crop === null) return { left: 0, top: 0, width: 1, height: 1 };
  let [high, wide] = Array.isArray(resize) ? resize : [resize, resize];
  if (!Array.isArray(resize)) {
    const long = Math.trunc((resize * Math.max(width, height)) / Math.min(width, height));
    if (height >= width) high = long;
    else wide = long;
  }
  return {
    left: Math.round((wide - crop) / 2) / wide,
    top: Math.round((high - crop) / 2) / high,
    width: crop / wide,
    height: crop / high,
  };
}

/**
 * Where most of what speaks for and against a breed lies.
 * @param {Pick<import("./api.js").Explanation, "grid" | "cells" | "input_size">} explanation `grid`
 *   has rows from top to bottom; positive speaks for it
 * @param {string} breed
 */
export function told({ grid, cells, input_size }, breed) {
  // Archives that do not tell are of before there were other networks than those with such cells.
  const { first, step } = cells ?? { first: 0, step: 32 };
  const [height, width] = input_size ?? [step * grid.length, step * grid[0].length];
  // Of pixel 0 the middle lies half a pixel from the edge.
  const centre = (/** @type {number} */ at) => first + at * step + 0.5;
  const regions = grid.map((row, r) => row.map((_, c) => region(centre(r) / height, centre(c) / width)));
  const most = places(grid, regions, 1);
  const against = places(grid, regions, -1);
  const speaking = most.length
    ? `What speaks for ${breed} lies mostly ${most.join(" and ")}.`
    : `Nothing in the photo speaks for ${breed}.`;
  return against.length
    ? `${speaking} What speaks against it lies mostly ${against.join(" and ")}.`
    : speaking;
}

/**
 * The one or two of nine regions with most of the values of that sign.
 * @param {number[][]} grid
 * @param {string[][]} regions of its cells
 * @param {1 | -1} sign
 */
function places(grid, regions, sign) {
  const sums = new Map();
  let total = 0;
  grid.forEach((row, r) =>
    row.forEach((value, c) => {
      if (value * sign <= 0) return;
      const place = regions[r][c];
      sums.set(place, (sums.get(place) ?? 0) + Math.abs(value));
      total += Math.abs(value);
    }),
  );
  const found = [...sums].sort((a, b) => b[1] - a[1]).slice(0, 2);
  return found
    .filter(([, sum], number) => number === 0 || sum >= WORTH_TELLING * total)
    .map(([place, sum]) => `${place} (${Math.round((100 * sum) / total)}%)`);
}

/** @param {number} down @param {number} across both in 0..1, or a little outside of the input */
function region(down, across) {
  const row = ROWS[third(down)];
  const column = COLUMNS[third(across)];
  if (row === "middle") return column === "centre" ? "in the centre" : `on the ${column}`;
  return column === "centre" ? `at the ${row}` : `at the ${row} ${column}`;
}

/** @param {number} part */
function third(part) {
  return Math.min(Math.max(Math.floor(part * 3), 0), 2);
}
