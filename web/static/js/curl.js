/** The request as a line for a shell, which must do nothing but this whatever a file is called. */

/**
 * One word of a POSIX shell. Control characters, which a terminal might act on while the line is
 * pasted, are written as bash, zsh and ksh read them ($'\033').
 * @param {string} text
 */
export function quoted(text) {
  if (!/\p{Cc}/u.test(text)) return `'${text.replaceAll("'", `'\\''`)}'`;
  const bytes = (/** @type {string} */ character) =>
    Array.from(new TextEncoder().encode(character), (byte) =>
      `\\${byte.toString(8).padStart(3, "0")}`).join("");
  return `$'${text.replace(/['\\]|\p{Cc}/gu, bytes)}'`;
}

/**
 * @param {{origin: string, name: string, options: Record<string, string>, example: boolean}} what
 *   `name`: the file's; an example is downloaded first
 * @returns {string}
 */
export function curlLine({ origin, name, options, example }) {
  const query = new URLSearchParams(options).toString();
  const url = quoted(`${origin}/api/classify${query && `?${query}`}`);
  // A lone - would be the standard input.
  const file = quoted(`@${name === "-" ? "./-" : name}`);
  const line = `curl -H 'Content-Type: application/octet-stream' --data-binary ${file} ${url}`;
  if (!example) return line;
  return `curl -sO ${quoted(`${origin}/static/examples/${name}`)} && ${line}`;
}
