/**
 * Refreshing: one at a time over all tabs, and never a false logout.
 *
 * Whoever gets the lock looks first whether another tab has refreshed meanwhile. A lost answer is
 * asked for again: the issuer gives the same successor. Nothing but the issuer's word that the session
 * is over ends it here.
 */

import { Refused, SignedOutError, Unreachable } from "./errors.js";

const ATTEMPTS = 3;
const FIRST_PAUSE = 300;
const LONGEST_PAUSE = 60_000;
const PATIENT_RETRY_AFTER = 5;
/** Milliseconds: an end that is this near has come, allowing for whole seconds. */
const AT_THE_END = 2000;

/**
 * @param {object} parts
 * @param {import("./environment.js").Environment} parts.env
 * @param {import("./clock.js").Clock} parts.clock
 * @param {import("./lock.js").Lock} parts.lock
 * @param {import("./issuer.js").Issuer} parts.issuer
 * @param {import("./holder.js").Holder} parts.holder
 * @param {import("./activity.js").Activity} parts.activity
 * @param {(answer: import("./issuer.js").Answer, began: number) => void} parts.accept
 * @param {(sid: string | null, reason: import("../types/index.js").SignedOutReason) => void} parts.ended
 */
export function createRefresher({ env, clock, lock, issuer, holder, activity, accept, ended }) {
  /** @type {Promise<void> | null} */
  let flight = null;
  /** @type {number | null} */
  let reported = null;
  let failures = 0;
  /** @type {unknown} */
  let retry = null;
  let closed = false;

  /** @param {import("./holder.js").Grant | null} before what the caller wants to have replaced */
  async function once(before) {
    const now = holder.grant();
    if (holder.state().status === "signedOut") return;
    if (now?.token && (now.token !== before?.token || now.sid !== before.sid)) return;
    const began = clock.now();
    const active = activity.last();
    const body = active === null ? {} : { active_ago: Math.max(0, began - active) / 1000 };
    try {
      const answer = await issuer.grant("/refresh", { body });
      reported = active;
      accept(answer, began);
    } catch (error) {
      if (!(error instanceof Refused && isOver(error))) throw error;
      // A login that came in between is not ended by the answer to an older question.
      if ((holder.grant()?.sid ?? null) === (now?.sid ?? null)) {
        ended(now?.sid ?? null, reasonOf(now));
      }
    }
  }

  /** @param {import("./holder.js").Grant | null} grant */
  function reasonOf(grant) {
    if (!grant) return "ended";
    const soon = clock.now() + AT_THE_END;
    if (grant.absoluteEnd <= soon) return "absolute";
    return grant.idleEnd !== null && grant.idleEnd <= soon ? "idle" : "ended";
  }

  /** @param {import("./holder.js").Grant | null} before */
  async function severalTimes(before) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await lock.run(() => once(before));
        settle();
        return;
      } catch (error) {
        const wait = error instanceof Unreachable ? (error.retryAfter ?? 0) : Infinity;
        if (attempt === ATTEMPTS || wait > PATIENT_RETRY_AFTER || closed) {
          later(error);
          throw error;
        }
        const pause = FIRST_PAUSE * 2 ** attempt * (0.5 + env.random() / 2);
        await new Promise((resolve) => env.setTimeout(() => resolve(null), wait * 1000 + pause));
      }
    }
  }

  function settle() {
    failures = 0;
    env.clearTimeout(retry);
    retry = null;
    holder.reachable(true);
  }

  /** @param {unknown} error */
  function later(error) {
    const limited = error instanceof Unreachable && error.status === 429;
    holder.reachable(false, limited ? error.retryAfter : null);
    if (closed) return;
    failures += 1;
    const longest = Math.min(LONGEST_PAUSE, 1000 * 2 ** failures);
    // A refusal that is no end is a setting at the issuer; it is not put right within seconds.
    const wait = error instanceof Unreachable ? (error.retryAfter ?? 0) * 1000 : LONGEST_PAUSE;
    env.clearTimeout(retry);
    retry = env.setTimeout(inBackground, wait + longest * (0.5 + env.random() / 2));
  }

  /**
   * Have the current grant replaced. Rejects with `Unreachable`, `Refused` or `SignedOutError`; a
   * failure is tried again in the background.
   */
  async function refresh() {
    const { state } = holder;
    if (state().status !== "signedOut") {
      flight ??= severalTimes(holder.grant()).finally(() => (flight = null));
      await flight;
    }
    const now = state();
    if (now.status === "signedOut") throw new SignedOutError(now.reason);
  }

  function inBackground() {
    env.clearTimeout(retry);
    retry = null;
    if (!closed) refresh().catch(() => {});
  }

  return {
    refresh,
    inBackground,
    /** Whether the person was active since the issuer was last told. */
    unreported() {
      const last = activity.last();
      return last !== null && (reported === null || last > reported);
    },
    /** Whether a failure waits for its next attempt. */
    waiting: () => retry !== null,
    /** The network may have come back: try now what waits for its next attempt. */
    hurry() {
      if (retry !== null) inBackground();
    },
    close() {
      closed = true;
      env.clearTimeout(retry);
    },
  };
}

/** @typedef {ReturnType<typeof createRefresher>} Refresher */

/**
 * Whether a refresh's refusal is the session's end. The request itself is always well formed, so that
 * `invalid_request` can only mean that the browser had no cookie to send.
 *
 * @param {Refused} refusal
 */
function isOver({ status, error }) {
  return status === 400 && (error === "invalid_grant" || error === "invalid_request");
}
