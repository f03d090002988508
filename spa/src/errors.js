/**
 * What goes wrong, each kind its own class with a stable `code`. No error holds a token, a password
 * or a request; the issuer's words are for people and hold no secret.
 */

export class SessionError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = new.target.name;
  }
}

export class Unreachable extends SessionError {
  /** @type {"unreachable"} */
  code = "unreachable";

  /**
   * @param {number | null} status
   * @param {number | null} retryAfter seconds
   */
  constructor(status = null, retryAfter = null) {
    super(status === null ? "no answer" : `no usable answer (status ${status})`);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export class Refused extends SessionError {
  /** @type {"refused"} */
  code = "refused";

  /**
   * @param {number} status
   * @param {import("../types/index.js").RefusalCode} error
   * @param {string} description
   * @param {{ factors?: readonly string[], webauthn?: object | null }} [wanted]
   */
  constructor(status, error, description, { factors = [], webauthn = null } = {}) {
    super(description || error);
    this.status = status;
    this.error = error;
    this.description = description;
    this.factors = factors;
    this.webauthn = webauthn;
  }
}

export class SignedOutError extends SessionError {
  /** @type {"signed_out"} */
  code = "signed_out";

  /** @param {import("../types/index.js").SignedOutReason} reason */
  constructor(reason) {
    super("nobody is signed in");
    this.reason = reason;
  }
}

export class RedirectRefused extends SessionError {
  /** @type {"redirect_refused"} */
  code = "redirect_refused";

  constructor() {
    super("the API answered with a redirect, which a request with a token does not follow");
  }
}

/**
 * @param {unknown} error
 * @returns {error is import("../types/index.js").SessionFailure}
 */
export function isSessionFailure(error) {
  return error instanceof SessionError;
}
