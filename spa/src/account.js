/** What a person does with the account: sign in and out, change the password, see the devices. */

import { Refused, SignedOutError, Unreachable } from "./errors.js";

const PATIENCE = 2000;
const FIRST_PAUSE = 2000;
const LONGEST_PAUSE = 60_000;

/**
 * @param {object} parts
 * @param {import("./environment.js").Environment} parts.env
 * @param {import("./clock.js").Clock} parts.clock
 * @param {import("./lock.js").Lock} parts.lock
 * @param {import("./issuer.js").Issuer} parts.issuer
 * @param {import("./holder.js").Holder} parts.holder
 * @param {import("./marks.js").Marks} parts.marks
 * @param {import("./activity.js").Activity} parts.activity
 * @param {import("./refresh.js").Refresher} parts.refresher
 * @param {import("./watch.js").Watch} parts.watch
 * @param {string | undefined} parts.clientId
 * @param {string | undefined} parts.label
 * @param {(answer: import("./issuer.js").Answer, began: number, fresh: boolean) => void} parts.accept
 * @param {(sid: string | null, reason: import("../types/index.js").SignedOutReason) => void} parts.ended
 */
export function createAccount({
  env, clock, lock, issuer, holder, marks, activity, refresher, watch, clientId, label, accept, ended,
}) {
  let failures = 0;
  /** @type {unknown} */
  let retry = null;
  let closed = false;

  function signedIn() {
    const state = holder.state();
    if (state.status === "signedIn") return state;
    throw new SignedOutError(state.status === "signedOut" ? state.reason : "ended");
  }

  /** @param {import("../types/index.js").Credentials} credentials */
  async function login({ username, password, otp, recoveryCode, webauthn }) {
    activity.note();
    const before = await lock.run(async () => {
      // The old session first, while its cookie is still there.
      if (marks.session() === "leaving") await tellIssuer(null).catch(() => {});
      const grant = holder.grant();
      const began = clock.now();
      const factor = { otp, recovery_code: recoveryCode, webauthn };
      const body = { username, password, ...factor, transport: "cookie", client_id: clientId, label };
      accept(await issuer.grant("/login", { body }), began, true);
      return grant;
    });
    if (before) await endReplaced(before);
    return signedIn();
  }

  /**
   * Who signs in anew ends the session that was there (ASVS 7.2.4). Where that fails, it ends by its
   * own idle time, since its cookie is gone.
   *
   * @param {import("./holder.js").Grant} grant
   */
  async function endReplaced({ sid, token }) {
    if (token) await issuer.call("DELETE", `/sessions/${sid}`, { token }).catch(() => {});
  }

  /** @param {import("../types/index.js").PasswordChange} change */
  function changePassword({ currentPassword, newPassword }) {
    return goOnAfter("/password", { current_password: currentPassword, new_password: newPassword });
  }

  /** @param {import("../types/index.js").Elevation} proof */
  function elevate({ currentPassword, otp, recoveryCode, webauthn, scope, acr }) {
    const factor = { otp, recovery_code: recoveryCode, webauthn };
    return goOnAfter("/elevate", { current_password: currentPassword, ...factor, scope, acr });
  }

  /**
   * Prove oneself anew, and go on in the new session that comes of it.
   *
   * @param {"/password" | "/elevate"} path
   * @param {Record<string, unknown>} proof
   */
  async function goOnAfter(path, proof) {
    activity.note();
    const token = await usableToken();
    try {
      return await lock.run(async () => {
        const began = clock.now();
        const body = { ...proof, transport: "cookie", label };
        accept(await issuer.grant(path, { body, token }), began, true);
        return signedIn();
      });
    } catch (error) {
      // Whether it was done is open after a lost answer; and a token that is refused here may
      // have been taken back. Either way a refresh finds out.
      // (429 says that nothing was tried.)
      const lost = error instanceof Unreachable && error.status !== 429;
      const unsure = lost || (error instanceof Refused && error.status === 401);
      if (unsure) refresher.inBackground();
      throw error;
    }
  }

  async function usableToken() {
    if (!watch.fresh()) await refresher.refresh();
    return holder.grant()?.token ?? null;
  }

  /**
   * One call with the bearer token; a token that was taken back meanwhile is replaced once.
   *
   * @param {"GET" | "DELETE"} method
   * @param {string} path
   */
  async function authorized(method, path) {
    const token = await usableToken();
    try {
      return await issuer.call(method, path, { token });
    } catch (error) {
      if (!(error instanceof Refused && error.status === 401)) throw error;
      if (holder.grant()?.token === token) await refresher.refresh();
      return issuer.call(method, path, { token: holder.grant()?.token ?? null });
    }
  }

  async function logout() {
    const token = watch.fresh() ? (holder.grant()?.token ?? null) : null;
    marks.setSession("leaving");
    ended(holder.grant()?.sid ?? null, "logout");
    await leave(token);
  }

  /** @param {string | null} token */
  async function leave(token) {
    env.clearTimeout(retry);
    retry = null;
    try {
      // A refresh under way in another tab is waited for, but not for long: its answer would bring
      // back a cookie, though one of a session that has ended.
      await lock.run(() => tellIssuer(token), PATIENCE);
      failures = 0;
    } catch (error) {
      if (!closed) {
        failures += 1;
        const longest = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** failures);
        retry = env.setTimeout(finishLogout, longest * (0.5 + env.random() / 2));
      }
      throw error;
    }
  }

  /** @param {string | null} token */
  async function tellIssuer(token) {
    if (marks.session() === "maybe" && env.storage) return; // a login came in between
    try {
      await issuer.call("POST", "/logout", { body: {}, token });
    } catch (error) {
      // No cookie, or a token that is worth nothing any more: there is nothing left to end.
      if (!(error instanceof Refused && [400, 401].includes(error.status))) throw error;
    }
    if (marks.session() === "leaving") marks.setSession("none");
  }

  function finishLogout() {
    if (!closed && marks.session() === "leaving") leave(null).catch(() => {});
  }

  async function logoutEverywhere() {
    await authorized("DELETE", "/sessions");
    await logout().catch(() => {}); // takes the cookie away; the session has ended
  }

  async function sessions() {
    const answer = await authorized("GET", "/sessions");
    return /** @type {import("../types/index.js").SessionInfo[]} */ (answer.sessions);
  }

  /** @param {string} sid */
  async function endSession(sid) {
    if (sid === holder.grant()?.sid) {
      await logout();
      return;
    }
    await authorized("DELETE", `/sessions/${encodeURIComponent(sid)}`);
  }

  return {
    login,
    logout,
    logoutEverywhere,
    changePassword,
    elevate,
    sessions,
    endSession,
    finishLogout,
    /** The network may have come back. */
    hurry() {
      if (retry !== null) finishLogout();
    },
    close() {
      closed = true;
      env.clearTimeout(retry);
    },
  };
}

/** @typedef {ReturnType<typeof createAccount>} Account */
