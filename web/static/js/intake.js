/**
 * The ways for a photo to get onto the page: drop, paste, choose, take, and the examples.
 *
 * @typedef {{name: string, example: boolean, open: () => Promise<Blob>}} Source a photo to be
 *   asked about; `open` throws a Problem where it cannot be had
 */

import { Problem } from "./api.js";

const drop = /** @type {HTMLFormElement} */ (document.getElementById("drop"));
const curtain = /** @type {HTMLElement} */ (document.getElementById("curtain"));

/**
 * @param {(photos: Source[]) => void} onPhotos
 * @param {(words: string) => void} onNothing what came was no file
 */
export function takeIn(onPhotos, onNothing) {
  chosen(onPhotos);
  dropped(onPhotos, onNothing);
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) {
      event.preventDefault();
      onPhotos(files.map(fromFile));
    } else {
      onNothing("There is no photo on the clipboard.");
    }
  });
  for (const button of document.querySelectorAll(".example")) {
    const name = /** @type {HTMLElement} */ (button).dataset.file ?? "";
    button.addEventListener("click", () => onPhotos([fromExample(name)]));
  }
}

/** @param {(photos: Source[]) => void} onPhotos */
function chosen(onPhotos) {
  for (const id of ["file", "camera"]) {
    const input = /** @type {HTMLInputElement} */ (document.getElementById(id));
    input.multiple = id === "file";
    input.addEventListener("change", () => {
      const files = [...(input.files ?? [])];
      input.value = ""; // so that the same photo can be chosen again
      if (files.length) onPhotos(files.map(fromFile));
    });
  }
  drop.addEventListener("submit", (event) => event.preventDefault());
  drop.addEventListener("click", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (!target.closest("label, input, button")) document.getElementById("file")?.click();
  });
}

/**
 * The whole page takes what is dropped: missing a smaller zone would make the browser leave the
 * page to show the photo.
 * @param {(photos: Source[]) => void} onPhotos
 * @param {(words: string) => void} onNothing
 */
function dropped(onPhotos, onNothing) {
  // Each element under the pointer sends its own enter and leave.
  let depth = 0;
  const hasFiles = (/** @type {DragEvent} */ event) =>
    event.dataTransfer?.types.includes("Files") ?? false;
  const show = (/** @type {number} */ now) => {
    depth = now;
    curtain.hidden = depth <= 0;
  };
  addEventListener("dragenter", (event) => {
    if (hasFiles(event)) show(depth + 1);
  });
  addEventListener("dragleave", (event) => {
    if (hasFiles(event)) show(depth - 1);
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    show(0);
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length) onPhotos(files.map(fromFile));
    else onNothing("That was no file. Save the photo first, then drop the file.");
  });
}

/** @param {File} file @returns {Source} */
function fromFile(file) {
  const open = async () => {
    try {
      await file.slice(0, 1).arrayBuffer(); // a folder can be dropped, but not read
    } catch {
      throw new Problem("unreadable");
    }
    if (!file.size) throw new Problem("unreadable", { words: "It is empty." });
    return file;
  };
  return { name: file.name, example: false, open };
}

/** @param {string} name @returns {Source} */
function fromExample(name) {
  const open = async () => {
    try {
      const response = await fetch(`/static/examples/${name}`);
      if (response.ok) return await response.blob();
    } catch {
      // as below
    }
    throw new Problem("offline");
  };
  return { name, example: true, open };
}
