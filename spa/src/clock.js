/**
 * A clock that never goes back and that counts suspension.
 *
 * The monotonic clock stands still on some systems while the machine sleeps; the wall clock jumps.
 * When the wall clock has run ahead by more than a second, the machine slept (or somebody set the
 * clock forward: then the session asks the issuer a little early, which does no harm). A wall clock
 * that was set back is ignored.
 */

const NOTICEABLE = 1000;

/** @param {Pick<import("./environment.js").Environment, "monotonic" | "wall">} env */
export function createClock(env) {
  let distance = env.wall() - env.monotonic();
  let slept = 0;
  return {
    /** Milliseconds since some fixed moment. */
    now() {
      const monotonic = env.monotonic();
      const gap = env.wall() - monotonic - distance;
      if (Math.abs(gap) > NOTICEABLE) {
        distance += gap;
        slept += Math.max(gap, 0);
      }
      return monotonic + slept;
    },
  };
}

/** @typedef {ReturnType<typeof createClock>} Clock */
