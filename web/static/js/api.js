/**
 * Requests to the gateway.
 *
 * @typedef {{breed: string, class_id: number, probability: number}} Prediction
 * @typedef {{model: string, version: string, predictions: Prediction[], unsure: boolean,
 *   timing_ms: {decode: number, inference: number}}} Answer
 * @typedef {{model: string, version: string, class: Prediction, grid: number[][],
 *   cells?: {first: number, step: number}, input_size?: number[], heatmap: string}} Explanation
 * @typedef {{name: string, default: string, versions: string[], classes: number,
 *   input: {resize: number | number[], crop: number | null}, unsure_score: string,
 *   unsure_threshold: number, intended_use: string, limitations: string[]}} Model
 * @typedef {{default: string | null, models: Model[], formats: string}} Models
 */

/** Longer than the gateway lets an upload and its answer take. */
const PATIENCE_MS = 200_000;

/** What went wrong with a request; `slug` is the last part of the problem's type. */
export class Problem extends Error {
  /**
   * @param {string} slug
   * @param {{words?: string, detail?: string, requestId?: string | null, retryAfter?: number}} [more]
   */
  constructor(slug, { words = "", detail = "", requestId = null, retryAfter = 0 } = {}) {
    super(detail || slug);
    this.slug = slug;
    /** What this page has to add, and what the server says, which is for those who ask why. */
    this.words = words;
    this.detail = detail;
    this.requestId = requestId;
    /** Seconds that the server asks to wait for; 0 where it does not say. */
    this.retryAfter = retryAfter;
  }
}

/**
 * POST one photo. XMLHttpRequest, as fetch does not tell how far an upload has come.
 *
 * @param {"classify" | "explain"} what
 * @param {Blob} photo
 * @param {Record<string, string>} options model, version, class
 * @param {{signal?: AbortSignal, onProgress?: (share: number) => void}} [more]
 * @returns {Promise<{answer: any, ms: number}>} `ms`: from the first byte out to the last one in
 * @throws {Problem | DOMException} an AbortError where `signal` was
 */
export function post(what, photo, options, { signal, onProgress } = {}) {
  const query = new URLSearchParams(options).toString();
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    const begun = performance.now();
    request.open("POST", `/api/${what}${query && `?${query}`}`);
    // Whatever the file calls itself: as JSON or as a form the server would take it apart.
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.timeout = PATIENCE_MS;
    request.upload.onprogress = (event) => onProgress?.(event.loaded / event.total);
    request.upload.onload = () => onProgress?.(1);
    request.onerror = () => reject(new Problem("offline"));
    request.ontimeout = () => reject(new Problem("upload-timeout"));
    request.onabort = () => reject(new DOMException("removed", "AbortError"));
    request.onload = () => {
      const ms = performance.now() - begun;
      const body = parsed(request.responseText);
      if (request.status === 200 && isAnswer(what, body)) resolve({ answer: body, ms });
      else reject(problemOf(request, body));
    };
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.send(photo);
  });
}

/**
 * Which models there are.
 * @returns {Promise<Models>}
 * @throws {Problem}
 */
export async function models() {
  let response;
  try {
    response = await fetch("/api/models", { cache: "no-store" });
  } catch {
    throw new Problem("offline");
  }
  if (!response.ok) throw new Problem("unavailable");
  return response.json();
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** @param {string} what @param {any} body */
function isAnswer(what, body) {
  return what === "classify" ? body?.predictions?.length > 0 : Array.isArray(body?.grid);
}

/** @param {XMLHttpRequest} request @param {any} body */
function problemOf(request, body) {
  const requestId = body?.request_id ?? request.getResponseHeader("x-request-id");
  const retryAfter = Number(request.getResponseHeader("retry-after")) || 0;
  const told = /^urn:catbreeds:problem:(.+)$/.exec(body?.type ?? "");
  // Something between the page and the gateway may answer in its own way.
  /** @type {Record<number, string>} */
  const byStatus = { 408: "upload-timeout", 413: "too-large", 429: "rate-limited",
    502: "unavailable", 503: "unavailable", 504: "upstream-timeout" };
  const slug = told?.[1] ?? byStatus[request.status] ?? "bad-answer";
  return new Problem(slug, { detail: body?.detail ?? "", requestId, retryAfter });
}
