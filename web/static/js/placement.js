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
 * @param {number[][]} grid rows from top to bottom; positive speaks for it
 * @param {string} breed
 */
export function told(grid, breed) {
  const most = places(grid, 1);
  const against = places(grid, -1);
  const first = most.length
    ? `What speaks for ${breed} lies mostly ${most.join(" and ")}.`
    : `Nothing in the photo speaks for ${breed}.`;
  return against.length ? `${first} What speaks against it lies mostly ${against.join(" and ")}.` : first;
}

/**
 * A cell looks at its upper left corner and around it: see `enlarged` of handlers/explanations.py.
 *
 * The one or two of nine regions with most of the values of that sign.
 * @param {number[][]} grid
 * @param {1 | -1} sign
 */
function places(grid, sign) {
  const sums = new Map();
  let total = 0;
  grid.forEach((row, r) =>
    row.forEach((value, c) => {
      if (value * sign <= 0) return;
      const place = region(r / grid.length, c / row.length);
      sums.set(place, (sums.get(place) ?? 0) + Math.abs(value));
      total += Math.abs(value);
    }),
  );
  const found = [...sums].sort((a, b) => b[1] - a[1]).slice(0, 2);
  return found
    .filter(([, sum], number) => number === 0 || sum >= WORTH_TELLING * total)
    .map(([place, sum]) => `${place} (${Math.round((100 * sum) / total)}%)`);
}

/** @param {number} down @param {number} across both in 0..1 */
function region(down, across) {
  const row = ROWS[Math.floor(down * 3)];
  const column = COLUMNS[Math.floor(across * 3)];
  if (row === "middle") return column === "centre" ? "in the centre" : `on the ${column}`;
  return column === "centre" ? `at the ${row}` : `at the ${row} ${column}`;
}
