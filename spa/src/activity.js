/**
 * When the person was last here: something pressed, touched or scrolled, or the tab brought to the
 * front. A pointer that merely moves does not count, since a bumped desk moves it too; nor does an
 * event that a script made up.
 */

const EVENTS = ["pointerdown", "keydown", "touchstart", "wheel"];
const NOTICE = 1000;
const TELL = 5000;

/**
 * @param {import("./environment.js").Environment} env
 * @param {import("./clock.js").Clock} clock
 * @param {object} told
 * @param {() => void} told.noticed at most once a second
 * @param {() => void} told.tell at most once in five seconds: for the other tabs and the next page
 */
export function createActivity(env, clock, { noticed, tell }) {
  /** @type {number | null} */
  let last = null;
  let noticedAt = -Infinity;
  let toldAt = -Infinity;

  function note() {
    const now = clock.now();
    last = now;
    if (now - noticedAt < NOTICE) return;
    noticedAt = now;
    if (now - toldAt >= TELL) {
      toldAt = now;
      tell();
    }
    noticed();
  }

  /** @param {Event} event */
  function happened(event) {
    if (event.isTrusted) note();
  }

  /** @param {Event} event */
  function shown(event) {
    if (env.document?.visibilityState === "visible") happened(event);
  }

  const options = { capture: true, passive: true };
  for (const name of EVENTS) env.window?.addEventListener(name, happened, options);
  env.document?.addEventListener("visibilitychange", shown);

  return {
    note,
    /**
     * The person was active elsewhere, `ago` milliseconds before now.
     *
     * @param {number} ago
     */
    heard(ago) {
      last = Math.max(last ?? -Infinity, clock.now() - ago);
    },
    /** The moment on `clock` at which the person was last active, or null. */
    last: () => last,
    close() {
      for (const name of EVENTS) env.window?.removeEventListener(name, happened, options);
      env.document?.removeEventListener("visibilitychange", shown);
    },
  };
}

/** @typedef {ReturnType<typeof createActivity>} Activity */
