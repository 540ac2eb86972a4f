/**
 * A big photo made smaller before it is sent, where the model's answer stays the same: the network
 * looks at a small picture, and more pixels than a few times its size change nothing.
 */

/** A smaller file goes as it is: it is up sooner than it is made smaller. */
const WORTH_BYTES = 2 ** 20;
/** What is kept: so many sides of the network's input, and no less than so many px. */
const SIDES = 4;
const LEAST_SIDE = 640;
const QUALITY = 0.95;
/**
 * So far two probabilities of a copy may both have to move before its answer reads otherwise.
 * Measured with the model of `make serve` on 100 photos of 2 MB: by less than 0.01 where it is clear
 * about the photo, by up to 0.04 where it wavers; it moves by 0.02 when a photo is only saved anew.
 */
const MARGIN = 0.1;

/**
 * @param {Blob} photo
 * @param {{resize: number | number[]} | null} input of the model; null: it is not known
 * @returns {Promise<Blob>} a smaller JPEG, or `photo` itself
 */
export async function downscaled(photo, input) {
  if (!input || photo.size <= WORTH_BYTES || !(await mayBeRedrawn(photo))) return photo;
  const wanted = Math.max(LEAST_SIDE, SIDES * Math.max(...[input.resize].flat()));
  let picture;
  try {
    // The server obeys the orientation and ignores colour profiles, so this must as well.
    picture = await createImageBitmap(photo, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
    });
    const factor = wanted / Math.min(picture.width, picture.height);
    const copy = factor < 1 ? await drawn(picture, factor) : null;
    return copy && copy.size < photo.size ? copy : photo;
  } catch {
    return photo; // damaged, or more than this device can hold: the server will say
  } finally {
    picture?.close();
  }
}

/**
 * Whether a copy's answer hangs by so little that the photo itself has to be asked about.
 * @param {import("./api.js").Answer} answer
 * @param {number} unsureThreshold of a model that goes by the best probability
 */
export function hangsByLittle({ predictions: [best, second] }, unsureThreshold) {
  const steps = [second?.probability ?? 0, unsureThreshold];
  return steps.some((step) => Math.abs(best.probability - step) < MARGIN);
}

/** @param {ImageBitmap} picture @param {number} factor @returns {Promise<Blob | null>} */
function drawn(picture, factor) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(picture.width * factor);
  canvas.height = Math.round(picture.height * factor);
  const context = canvas.getContext("2d");
  if (!context || !readsBackTruly()) return Promise.resolve(null);
  context.fillStyle = "#fff"; // what the server lays a transparent photo over
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}

/** Browsers that hide what a device draws like give noise, or white, for a canvas's pixels. */
function readsBackTruly() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 16;
  const context = canvas.getContext("2d");
  if (!context) return false;
  context.fillStyle = "rgb(12 150 233)";
  context.fillRect(0, 0, 16, 16);
  const pixels = context.getImageData(0, 0, 16, 16).data;
  return pixels.every((value, at) => value === [12, 150, 233, 255][at % 4]);
}

/**
 * Whether the browser reads the file as the server does: JPEG, but not of four inks, and WebP
 * without a note on how to turn it.
 * @param {Blob} photo
 */
async function mayBeRedrawn(photo) {
  let bytes;
  try {
    bytes = new Uint8Array(await photo.slice(0, 2 ** 19).arrayBuffer());
  } catch {
    return false;
  }
  const ascii = (/** @type {number} */ at) => String.fromCharCode(...bytes.subarray(at, at + 4));
  if (ascii(0) === "RIFF" && ascii(8) === "WEBP") {
    const exif = 0x08;
    return ascii(12) !== "VP8X" || !(bytes[20] & exif);
  }
  const components = jpegComponents(bytes);
  return components === 1 || components === 3;
}

/**
 * @param {Uint8Array} bytes the beginning of a file
 * @returns {number} colour components by a JPEG's frame header (ITU T.81, B.2.2); 0: none found
 */
function jpegComponents(bytes) {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return 0;
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1];
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return bytes[at + 9];
    at += 2 + bytes[at + 2] * 256 + bytes[at + 3];
  }
  return 0;
}
