/** Work in turn, some of it at once: one slow photo holds up none but its own place. */
export class Queue {
  #places;
  /** @type {(() => Promise<void>)[]} */
  #waiting = [];

  /** @param {number} places how many run at once */
  constructor(places) {
    this.#places = places;
  }

  /** @param {() => Promise<void>} task must not reject */
  add(task) {
    this.#waiting.push(task);
    this.#next();
  }

  #next() {
    const task = this.#places > 0 ? this.#waiting.shift() : undefined;
    if (!task) return;
    this.#places -= 1;
    task().finally(() => {
      this.#places += 1;
      this.#next();
    });
  }
}
