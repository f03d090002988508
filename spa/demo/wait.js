/** "Too many attempts. You can try again in 0:42." */

import { clockface } from "./dom.js";

/**
 * Whether the issuer asked to be left alone for a while, and for how many seconds.
 *
 * @param {unknown} error
 * @returns {number | null}
 */
export function waitOf(error) {
  const { status = null, retryAfter = null } = /** @type {any} */ (error);
  return status === 429 && Number.isFinite(retryAfter) ? retryAfter : null;
}

/**
 * Say in a place how long to wait, and when that is over. A screen reader hears the whole once, and
 * the end, but not each second between.
 *
 * @param {HTMLElement} place
 * @param {string} text what comes before the time
 * @param {number} seconds
 * @param {string} over what is said in the end
 */
export function countDown(place, text, seconds, over) {
  const until = performance.now() + seconds * 1000;
  const left = document.createElement("span");
  left.setAttribute("aria-hidden", "true");
  const spoken = document.createElement("span");
  spoken.className = "visually-hidden";
  spoken.textContent = `${seconds} ${seconds === 1 ? "second" : "seconds"}`;
  place.replaceChildren(`${text} `, left, spoken, ".");
  place.hidden = false;

  function show() {
    // The place says something else by now.
    if (!place.contains(left)) return clearInterval(timer);
    const rest = Math.ceil((until - performance.now()) / 1000);
    if (rest > 0) {
      left.textContent = clockface(rest);
      return;
    }
    clearInterval(timer);
    place.textContent = over;
  }

  const timer = setInterval(show, 250);
  show();
}
