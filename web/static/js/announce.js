/** Words for people who do not see the page change. */

const announcer = /** @type {HTMLElement} */ (document.getElementById("announcer"));

/** @type {string[]} */
let waiting = [];

/**
 * Have a screen reader say this. What comes within a moment is said together: a live region that
 * changes faster than it is read loses all but the last.
 * @param {string} words
 */
export function announce(words) {
  waiting.push(words);
  if (waiting.length > 1) return;
  setTimeout(() => {
    announcer.textContent = waiting.join(" ");
    waiting = [];
  }, 200);
}
