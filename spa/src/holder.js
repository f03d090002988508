/**
 * What this tab knows: the state that the page sees, and the grant behind it.
 *
 * The grant, and with it the access token, lives in this closure and nowhere else. News may come late
 * and out of order, so merging does not depend on order: of two grants of one session the one that
 * was asked for later counts, and a session that has ended or was replaced never comes back.
 *
 * @typedef {object} Grant times on the session's clock
 * @property {string} sid
 * @property {string | null} token
 * @property {number} tokenEnd
 * @property {number} began when it was asked for
 * @property {number | null} idleEnd
 * @property {number} absoluteEnd
 *
 * @typedef {import("../types/index.js").SessionState} State
 */

const MOST_REMEMBERED = 100;

export function createHolder() {
  /** @type {Grant | null} */
  let grant = null;
  /** @type {State} */
  let state = Object.freeze({ status: "restoring", reachable: true });
  /** @type {Set<(state: State) => void>} */
  const listeners = new Set();
  /** @type {Set<string>} */
  const over = new Set();

  /** @param {State} next */
  function become(next) {
    if (JSON.stringify(next) === JSON.stringify(state)) return;
    state = Object.freeze(next);
    for (const listener of [...listeners]) {
      if (state !== next) return; // a listener has changed it, and everybody was told of that
      safely(() => listener(next));
    }
  }

  /** @param {string} sid */
  function remember(sid) {
    over.add(sid);
    const [oldest] = over;
    if (over.size > MOST_REMEMBERED && oldest !== undefined) over.delete(oldest);
  }

  return {
    state: () => state,
    grant: () => grant,

    /** @param {(state: State) => void} listener */
    onChange(listener) {
      const own = (/** @type {State} */ current) => listener(current);
      listeners.add(own);
      listener(state);
      return () => void listeners.delete(own);
    },

    /**
     * Take a grant over. `over` if its session has ended, `other` if this tab has another session
     * that it has not replaced: then only the issuer knows.
     *
     * @param {Grant} next
     * @param {{ fresh?: boolean, replaces?: string | null }} [how] fresh: takes the
     *   place of any that was asked for earlier
     * @returns {"taken" | "over" | "other"}
     */
    adopt(next, { fresh = false, replaces = null } = {}) {
      if (replaces !== null && replaces !== next.sid) remember(replaces);
      if (over.has(next.sid)) return "over";
      if (grant && grant.sid !== next.sid) {
        const replaced = over.has(grant.sid) || (fresh && next.began >= grant.began);
        if (!replaced) return "other";
        remember(grant.sid);
        grant = null;
      }
      grant = grant ? later(grant, next) : next;
      const expiring = state.status === "signedIn" && state.sid === grant.sid ? state.expiring : null;
      become({ status: "signedIn", sid: grant.sid, expiring, reachable: true });
      return "taken";
    },

    /**
     * A session is over; `null` is whichever this tab has.
     *
     * @param {string | null} sid
     * @param {import("../types/index.js").SignedOutReason} reason
     */
    end(sid, reason) {
      if (sid !== null) remember(sid);
      if (sid !== null && grant && grant.sid !== sid) return;
      if (sid !== null && !grant && state.status === "restoring") return;
      if (grant) remember(grant.sid);
      grant = null;
      if (state.status !== "signedOut") become({ status: "signedOut", reason });
    },

    /** It is not known any more whether the session lives. The token is let go. */
    doubt() {
      if (grant) grant = { ...grant, token: null };
      if (state.status === "signedIn") become({ status: "restoring", reachable: state.reachable });
    },

    /** A page that comes back asks anew, also one on which nobody was signed in. */
    restart() {
      this.doubt();
      if (state.status === "signedOut") become({ status: "restoring", reachable: true });
    },

    /**
     * @param {boolean} reachable
     * @param {number | null} [retryAfter] seconds that a limit makes us wait
     */
    reachable(reachable, retryAfter = null) {
      if (state.status === "signedOut") return;
      const { retryAfter: _, ...rest } = state;
      become({ ...rest, reachable, ...(retryAfter !== null && { retryAfter }) });
    },

    /** @param {import("../types/index.js").End | null} expiring */
    expiring(expiring) {
      if (state.status === "signedIn") become({ ...state, expiring });
    },

    clear: () => listeners.clear(),
  };
}

/** @typedef {ReturnType<typeof createHolder>} Holder */

/**
 * A listener's mistake is reported as any uncaught error and breaks nothing here.
 *
 * @param {() => void} call
 */
export function safely(call) {
  try {
    call();
  } catch (error) {
    globalThis.reportError?.(error);
  }
}

/**
 * What was asked for later is what the issuer says now; a token is kept where the later has none.
 *
 * @param {Grant} one
 * @param {Grant} other
 * @returns {Grant}
 */
function later(one, other) {
  const [old, next] = other.began >= one.began ? [one, other] : [other, one];
  return next.token === null ? { ...next, token: old.token, tokenEnd: old.tokenEnd } : next;
}
