/**
 * Watches the session's times: refreshes ahead of the token's end, warns ahead of the session's ends,
 * and asks the issuer when an end has come. It looks at the clock at least every fifteen seconds,
 * since timers stand still while the machine sleeps.
 */

import { safely } from "./holder.js";

const LONGEST_SLEEP = 15_000;
const SHORTEST_SLEEP = 250;
const AHEAD = 30_000;
/** Milliseconds: the issuer tells whole seconds, so ask when the end has surely come. */
const PAST_END = 1500;

/**
 * @param {object} parts
 * @param {import("./environment.js").Environment} parts.env
 * @param {import("./clock.js").Clock} parts.clock
 * @param {import("./holder.js").Holder} parts.holder
 * @param {import("./refresh.js").Refresher} parts.refresher
 * @param {Record<import("../types/index.js").End, readonly number[]>} parts.warnBefore seconds
 */
export function createWatch({ env, clock, holder, refresher, warnBefore }) {
  /** @type {Set<(event: import("../types/index.js").ExpiringEvent) => void>} */
  const listeners = new Set();
  /** @type {Record<import("../types/index.js").End, number>} the last warning time that was told */
  const told = { idle: Infinity, absolute: Infinity };
  /** Tabs wake up apart, so that most find the refresh done. */
  const apart = env.random() * 2000;
  /** @type {unknown} */
  let timer;
  let closed = false;

  /** @param {import("./holder.js").Grant} grant */
  function renewAt({ tokenEnd, began, idleEnd, absoluteEnd }) {
    const end = Math.min(idleEnd ?? Infinity, absoluteEnd);
    // A token that ends with its session gets no longer by asking.
    if (tokenEnd >= end - PAST_END) return end + PAST_END;
    return tokenEnd - Math.min(AHEAD, (tokenEnd - began) / 5) - apart / 2;
  }

  /** @param {import("./holder.js").Grant} grant */
  function left({ idleEnd, absoluteEnd }) {
    const now = clock.now();
    return { idle: idleEnd === null ? Infinity : idleEnd - now, absolute: absoluteEnd - now };
  }

  function look() {
    env.clearTimeout(timer);
    const grant = holder.grant();
    if (closed || !grant) return;
    const now = clock.now();
    const { idle, absolute } = left(grant);
    if (Math.min(idle, absolute) <= 0) holder.doubt();
    const calm = !refresher.waiting();
    const averts = calm && refresher.unreported() && idle <= longest("idle") + AHEAD;
    const due = Math.min(idle, absolute) <= -PAST_END || now >= renewAt(grant);
    if (averts || (calm && due)) refresher.inBackground();
    if (!averts) warn({ idle, absolute });
    // A refresh that was under way does not tell of this activity; look again when it is over.
    timer = env.setTimeout(look, averts ? SHORTEST_SLEEP : pause(grant, idle, absolute));
  }

  /** @param {import("../types/index.js").End} end milliseconds */
  const longest = (end) => Math.max(0, ...warnBefore[end]) * 1000;

  /** @param {{ idle: number, absolute: number }} lefts */
  function warn(lefts) {
    const near = /** @type {const} */ (["idle", "absolute"])
      .filter((end) => lefts[end] > 0 && lefts[end] <= longest(end))
      .sort((one, other) => lefts[one] - lefts[other]);
    holder.expiring(near[0] ?? null);
    for (const end of /** @type {const} */ (["idle", "absolute"])) {
      const reached = warnBefore[end].filter((seconds) => lefts[end] <= seconds * 1000);
      const time = Math.min(Infinity, ...reached);
      const news = time < told[end] && lefts[end] > 0;
      told[end] = time;
      if (!news) continue;
      const event = Object.freeze({ end, secondsLeft: Math.max(0, Math.round(lefts[end] / 1000)) });
      for (const listener of [...listeners]) safely(() => listener(event));
    }
  }

  /**
   * @param {import("./holder.js").Grant} grant
   * @param {number} idle
   * @param {number} absolute
   */
  function pause(grant, idle, absolute) {
    const next = [renewAt(grant) - clock.now(), idle, absolute, idle + PAST_END, absolute + PAST_END];
    next.push(...warnBefore.idle.map((seconds) => idle - seconds * 1000));
    next.push(...warnBefore.absolute.map((seconds) => absolute - seconds * 1000));
    const soonest = Math.min(...next.filter((delay) => delay > 0), LONGEST_SLEEP);
    return Math.max(soonest + 1, SHORTEST_SLEEP);
  }

  return {
    look,
    /** Seconds to each end, for the page. */
    remaining() {
      const grant = holder.grant();
      if (!grant) return Object.freeze({ idle: null, absolute: null });
      const { idle, absolute } = left(grant);
      const seconds = (/** @type {number} */ ms) => Math.max(0, Math.ceil(ms / 1000));
      return Object.freeze({
        idle: idle === Infinity ? null : seconds(idle),
        absolute: seconds(absolute),
      });
    },
    /** Whether the token is good for a request that is sent now. */
    fresh() {
      const grant = holder.grant();
      return Boolean(grant?.token) && clock.now() < renewAt(/** @type {any} */ (grant));
    },
    /** @param {(event: import("../types/index.js").ExpiringEvent) => void} listener */
    onExpiring(listener) {
      const own = (/** @type {import("../types/index.js").ExpiringEvent} */ event) => listener(event);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    close() {
      closed = true;
      listeners.clear();
      env.clearTimeout(timer);
    },
  };
}

/** @typedef {ReturnType<typeof createWatch>} Watch */
