/**
 * `fetch` with the access token. The token goes to the listed origins alone, and a redirect is not
 * followed with it, so that no foreign origin ever gets it (RFC 9700 section 4.9.1; RFC 10017).
 */

import { RedirectRefused, SignedOutError } from "./errors.js";
import { retryAfter } from "./issuer.js";

/** RFC 9110 section 9.2.2: these may be sent twice. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);
const SAFE = new Set(["GET", "HEAD"]);
const LONGEST_WAIT = 10;
const MOST_WAITS = 2;
const NOT_AGAIN_WITHIN = 5000;

/**
 * @param {object} parts
 * @param {import("./environment.js").Environment} parts.env
 * @param {import("./clock.js").Clock} parts.clock
 * @param {import("./holder.js").Holder} parts.holder
 * @param {import("./refresh.js").Refresher} parts.refresher
 * @param {import("./watch.js").Watch} parts.watch
 * @param {ReadonlySet<string>} parts.origins
 */
export function createApi({ env, clock, holder, refresher, watch, origins }) {
  let forcedAt = -Infinity;

  /** A token that is good now. Rejects as `fetch` does. */
  async function token() {
    if (!watch.fresh()) {
      await refresher.refresh().catch((error) => {
        // Ahead of its end the old token is still good.
        const grant = holder.grant();
        if (error instanceof SignedOutError || !grant?.token) throw error;
        if (clock.now() >= grant.tokenEnd) throw error;
      });
    }
    const current = holder.grant()?.token;
    if (current) return current;
    const state = holder.state();
    throw new SignedOutError(state.status === "signedOut" ? state.reason : "ended");
  }

  /** @param {string} refused a token that an API did not take */
  async function another(refused) {
    const current = holder.grant()?.token;
    if (current && current !== refused) return current;
    // A token just made is refused as well: that API takes none of ours, and asking on is useless.
    if (clock.now() - forcedAt < NOT_AGAIN_WITHIN) return null;
    forcedAt = clock.now();
    await refresher.refresh();
    const next = holder.grant()?.token ?? null;
    return next === refused ? null : next;
  }

  /**
   * @param {string | URL | Request} input
   * @param {RequestInit} [init]
   * @returns {Promise<Response>}
   */
  return async function fetchWithToken(input, init) {
    const address = new URL(input instanceof Request ? input.url : input, env.base);
    const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : {}));
    if (!origins.has(address.origin) || headers.has("Authorization")) return env.fetch(input, init);

    const whole = input instanceof Request ? input : null;
    const method = (init?.method ?? whole?.method ?? "GET").toUpperCase();
    const signal = init?.signal ?? whole?.signal;
    const repeatable = !(init?.body instanceof ReadableStream);

    /** @param {string} bearer */
    async function send(bearer) {
      headers.set("Authorization", `Bearer ${bearer}`);
      // A body can be read once, so each attempt gets a copy.
      const target = whole && repeatable ? whole.clone() : input;
      const response = await env.fetch(target, { ...init, headers, redirect: "manual" });
      if (response.type === "opaqueredirect" || isRedirect(response)) throw new RedirectRefused();
      return response;
    }

    let bearer = await token();
    let response = await send(bearer);
    if (response.status === 401 && repeatable && mayTryAgain(method, response)) {
      const next = await another(bearer);
      if (next !== null) {
        bearer = next;
        response = await send(bearer);
      }
    }
    for (let waits = 0; waits < MOST_WAITS; waits += 1) {
      const seconds = response.status === 503 && SAFE.has(method) ? retryAfter(response) : null;
      if (seconds === null || seconds > LONGEST_WAIT) break;
      await pause(env, seconds * 1000 + env.random() * 500, signal);
      response = await send(await token());
    }
    return response;
  };
}

/** @param {Response} response */
function isRedirect({ status }) {
  return status >= 300 && status < 400 && status !== 304;
}

/**
 * A gateway refuses a token before anything has happened, and says so. A 401 that does not say so may
 * be the application's own, after an effect; then only a request that may be sent twice is.
 *
 * @param {string} method
 * @param {Response} response
 */
function mayTryAgain(method, response) {
  const challenge = response.headers.get("WWW-Authenticate") ?? "";
  const error = /\berror="?(\w+)/.exec(challenge)?.[1];
  return error === "invalid_token" || (error === undefined && IDEMPOTENT.has(method));
}

/**
 * @param {import("./environment.js").Environment} env
 * @param {number} delay
 * @param {AbortSignal | null | undefined} signal
 */
function pause(env, delay, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      env.clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = env.setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve(null);
    }, delay);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
