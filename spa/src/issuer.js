/** Calls of the issuer: JSON in and out, the cookie included, every failure of a known kind. */

import { Refused, Unreachable } from "./errors.js";

export const TIMEOUT = 10_000;
const NO_ANSWER = new Set([408, 425, 429]);
const CODES = new Set([
  "invalid_grant",
  "invalid_request",
  "invalid_client",
  "unauthorized_client",
  "invalid_token",
  "access_denied",
  "not_found",
  "conflict",
  "factor_required",
  "factor_refused",
  "insufficient_user_authentication",
  "invalid_scope",
]);

/**
 * @typedef {object} Answer tokens as the issuer hands them out
 * @property {string} access_token
 * @property {number} expires_in
 * @property {{ sid: string, idle_expires_in: number | null, absolute_expires_in: number }} session
 */

/**
 * @param {import("./environment.js").Environment} env
 * @param {string} base
 */
export function createIssuer(env, base) {
  /**
   * @param {"POST" | "GET" | "DELETE"} method
   * @param {string} path
   * @param {{ body?: Record<string, unknown>, token?: string | null }} [what]
   * @returns {Promise<any>} the answer's JSON. Rejects with `Unreachable` or `Refused`.
   */
  async function call(method, path, { body, token } = {}) {
    const headers = new Headers({ Accept: "application/json" });
    if (body) headers.set("Content-Type", "application/json");
    if (token) headers.set("Authorization", `Bearer ${token}`);
    const limit = new AbortController();
    const timer = env.setTimeout(() => limit.abort(), TIMEOUT);
    try {
      const response = await env.fetch(base + path, {
        method,
        headers,
        ...(body && { body: JSON.stringify(body) }),
        credentials: "include",
        cache: "no-store",
        redirect: "error",
        signal: limit.signal,
      });
      return await read(response);
    } catch (error) {
      // What `fetch` and the parser throw may quote the request; ours does not.
      throw error instanceof Refused || error instanceof Unreachable ? error : new Unreachable();
    } finally {
      env.clearTimeout(timer);
    }
  }

  return {
    call,
    /**
     * @param {string} path
     * @param {{ body: Record<string, unknown>, token?: string | null }} what
     * @returns {Promise<Answer>}
     */
    async grant(path, what) {
      const answer = await call("POST", path, what);
      if (isAnswer(answer)) return answer;
      throw new Unreachable();
    },
  };
}

/** @typedef {ReturnType<typeof createIssuer>} Issuer */

/** @param {Response} response */
async function read(response) {
  const { status } = response;
  if (status >= 500 || NO_ANSWER.has(status)) throw new Unreachable(status, retryAfter(response));
  // What is not JSON is a proxy or a hotel's login page, not the issuer.
  const content = await response.json().catch(() => null);
  if (content === null || typeof content !== "object") throw new Unreachable(status);
  if (response.ok) return content;
  if (typeof content.error !== "string") throw new Unreachable(status);
  const error = CODES.has(content.error) ? content.error : "unknown";
  throw new Refused(status, error, `${content.error_description ?? ""}`, wantedFactors(content));
}

/** @param {any} content of a refusal: which second factors would do, and options for a passkey */
function wantedFactors({ factors, webauthn }) {
  return {
    factors: Array.isArray(factors) ? factors.filter((one) => typeof one === "string") : [],
    webauthn: webauthn !== null && typeof webauthn === "object" ? webauthn : null,
  };
}

/**
 * Seconds that `Retry-After` names (RFC 9110 section 10.2.3), or null; a date is not understood.
 *
 * @param {Response} response
 */
export function retryAfter(response) {
  const value = response.headers.get("Retry-After");
  return value !== null && /^\d{1,6}$/.test(value) ? Number(value) : null;
}

/**
 * @param {any} answer
 * @returns {answer is Answer}
 */
function isAnswer(answer) {
  const { access_token: token, expires_in: life, session } = answer;
  const idle = session?.idle_expires_in ?? 0;
  return (
    typeof token === "string" &&
    token !== "" &&
    typeof session?.sid === "string" &&
    [life, idle, session.absolute_expires_in].every(Number.isFinite)
  );
}
