/** What to tell about a problem. The texts stand in the page, where its plain form uses them too. */

const texts = /** @type {HTMLTemplateElement} */ (document.getElementById("problem-texts")).content;

/**
 * @param {string} slug
 * @returns {{title: string, advice: string, again: boolean}} `again`: a second try may help
 */
export function textsOf(slug) {
  const text =
    texts.querySelector(`[data-slug="${CSS.escape(slug)}"]`) ??
    texts.querySelector('[data-slug="bad-answer"]');
  return {
    title: text?.querySelector("h4")?.textContent ?? "",
    advice: text?.querySelector("p")?.textContent ?? "",
    again: text?.hasAttribute("data-again") ?? false,
  };
}
