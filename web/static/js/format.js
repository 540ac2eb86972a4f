/** Numbers and names as people read them. */

const oneDigit = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 1 });
const disjunction = new Intl.ListFormat("en-GB", { type: "disjunction" });

/**
 * @param {number} bytes
 * @returns {string} such as "17.3 MB", of 1,048,576 bytes each, as the limits are set in these
 */
export function size(bytes) {
  return bytes < 2 ** 20
    ? `${Math.max(1, Math.round(bytes / 1024))} kB`
    : `${oneDigit.format(bytes / 2 ** 20)} MB`;
}

/**
 * @param {number} probability in 0..1
 * @returns {string} such as "98.2%", and never 0 or 100, which no model can know
 */
export function percent(probability) {
  if (probability >= 0.9995) return ">99.9%";
  if (probability < 0.001) return "<0.1%";
  return `${(probability * 100).toFixed(1)}%`;
}

/** @param {number} ms */
export function duration(ms) {
  return ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${oneDigit.format(ms / 1000)} s`;
}

/** @param {string[]} names at least one; gives "A, B or C" */
export function either(names) {
  return disjunction.format(names);
}
