/** Small helpers: parts of the page by selector, and times as people read them. */

import { isSessionFailure } from "../src/index.js";

/**
 * @template {Element} T
 * @param {string} selector
 * @param {new () => T} kind
 * @param {ParentNode} [within]
 * @returns {T} the first such part. Throws `Error`: the page and its script do not fit together.
 */
export function part(selector, kind, within = document) {
  const found = within.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`the page has no ${selector}`);
  return found;
}

/** @param {string} selector */
export const box = (selector) => part(selector, HTMLElement);

/** @param {string} selector */
export const button = (selector) => part(selector, HTMLButtonElement);

/**
 * A message in its place, or none.
 *
 * @param {HTMLElement} place
 * @param {string} text
 */
export function tell(place, text) {
  place.textContent = text;
  place.hidden = text === "";
}

/**
 * @param {number | null} seconds
 * @returns {string} `1:59:30`, `1:59`, or a dash
 */
export function clockface(seconds) {
  if (seconds === null) return "–";
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const two = (/** @type {number} */ number) => `${number}`.padStart(2, "0");
  const rest = two(Math.floor(seconds) % 60);
  return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

/**
 * What went wrong, for the person.
 *
 * @param {unknown} error
 * @param {Partial<Record<string, string>>} [words] by the issuer's error code
 */
export function explain(error, words = {}) {
  if (!isSessionFailure(error)) throw error;
  switch (error.code) {
    case "refused":
      return words[error.error] ?? sentence(error.description);
    case "unreachable":
      if (error.status === 429) return "Too many attempts. Please wait a moment, then try again.";
      return "The server does not answer just now. Please try again.";
    case "signed_out":
      return "You are signed out.";
    case "redirect_refused":
      return "The server sent an answer that cannot be trusted.";
  }
}

/** @param {string} text */
export function sentence(text) {
  const trimmed = text.trim() || "that was refused";
  return `${trimmed.charAt(0).toUpperCase()}${trimmed.slice(1)}${/[.!?]$/.test(trimmed) ? "" : "."}`;
}

/**
 * Runs what a button or form asks for, once at a time.
 *
 * @param {HTMLButtonElement} pressed
 * @param {() => Promise<unknown>} task
 */
export async function busy(pressed, task) {
  if (pressed.getAttribute("aria-busy") === "true") return;
  pressed.setAttribute("aria-busy", "true");
  try {
    await task();
  } finally {
    pressed.removeAttribute("aria-busy");
  }
}
