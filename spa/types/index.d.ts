/** What a page gives to `createSession`. */
export interface SessionOptions {
  /** The issuer's address, as its tokens name it: `https://id.example`. */
  issuer: string;
  /** The client of this app at the issuer; by default the issuer's own default. */
  clientId?: string;
  /** Origins beside the issuer's that get the access token: `["https://api.example"]`. */
  apiOrigins?: readonly string[];
  /** How this device is named in the list of sessions; at most 64 characters. */
  label?: string;
  /** Seconds before each end at which `onExpiring` fires; by default 120 and 300. */
  warnBefore?: { idle?: readonly number[]; absolute?: readonly number[] };
  /** Replaces the browser's `fetch`; called without a `this`, so `window.fetch` itself will do. */
  fetch?: typeof fetch;
}

/** Why nobody is signed in. `none`: there was no session to restore. */
export type SignedOutReason = "none" | "logout" | "idle" | "absolute" | "ended";

export type End = "idle" | "absolute";

/** Whether a session lives is being asked: show neither the login form nor private content. */
export interface Restoring {
  readonly status: "restoring";
  /** False while the issuer does not answer; it is asked again by itself. */
  readonly reachable: boolean;
  /** Seconds that the issuer asked to be left alone for (429), if that is why. */
  readonly retryAfter?: number;
}

export interface SignedIn {
  readonly status: "signedIn";
  /** The session's id. No secret, but no name of a person either. */
  readonly sid: string;
  /** The end whose warning time has come, while it has not been averted. */
  readonly expiring: End | null;
  readonly reachable: boolean;
  /** As of `Restoring`. Nobody is signed out by a limit. */
  readonly retryAfter?: number;
}

export interface SignedOut {
  readonly status: "signedOut";
  readonly reason: SignedOutReason;
}

export type SessionState = Restoring | SignedIn | SignedOut;

/** Seconds from now; `null` where there is no such end or nobody is signed in. */
export interface Remaining {
  readonly idle: number | null;
  readonly absolute: number | null;
}

export interface ExpiringEvent {
  readonly end: End;
  readonly secondsLeft: number;
}

/** A live session as its owner sees it; times in seconds since 1970. */
export interface SessionInfo {
  readonly sid: string;
  readonly client_id: string;
  readonly label: string;
  readonly address: string;
  readonly user_agent: string;
  readonly created: number;
  readonly last_active: number;
  readonly last_refresh: number;
  readonly idle_expires_in: number | null;
  readonly absolute_expires_in: number;
  /** Whether it is the session of this browser. */
  readonly current: boolean;
}

/** The password, and for an account that has a second factor one of the rest. */
export interface Credentials {
  username: string;
  password: string;
  /** A code of an authenticator app. */
  otp?: string;
  recoveryCode?: string;
  /** What `navigator.credentials.get()` gave for the options of the refusal, by its `toJSON()`. */
  webauthn?: object;
}

export interface PasswordChange {
  currentPassword: string;
  newPassword: string;
}

/** The password, for an account that has a second factor one of those, and what is wanted. */
export interface Elevation {
  currentPassword: string;
  /** A code of an authenticator app. */
  otp?: string;
  recoveryCode?: string;
  /** What `navigator.credentials.get()` gave for the options of the refusal, by its `toJSON()`. */
  webauthn?: object;
  /** Scopes beside the session's own, separated by spaces. */
  scope?: string;
  /** The level that has to be reached, as a challenge names it (RFC 9470). */
  acr?: string;
}

export interface Session {
  readonly state: SessionState;
  /** Settles once it is known whether somebody is signed in, so on a server never. Never rejects. */
  readonly ready: Promise<SignedIn | SignedOut>;
  /**
   * Rejects with `Refused` (`invalid_grant`: wrong name or password; `factor_required`: right, and a
   * second factor is needed, `factors` says which would do; `factor_refused`: that was wrong) or
   * `Unreachable`.
   */
  login(credentials: Credentials): Promise<SignedIn>;
  /**
   * Signs all tabs out at once, then tells the issuer. Rejects with `Unreachable` if the issuer did
   * not answer yet: the tabs stay signed out, and it is told as soon as it answers.
   */
  logout(): Promise<void>;
  /** Ends every session of this person, on every device. */
  logoutEverywhere(): Promise<void>;
  /**
   * Ends all other sessions; this browser goes on with a new one. Rejects with `Refused`:
   * `invalid_grant` for a wrong current password, `invalid_request` for a new one that is not
   * accepted (`description` says why), `conflict` if another change came first.
   */
  changePassword(change: PasswordChange): Promise<SignedIn>;
  /**
   * Proves more, or once more, where an API answers 401 `insufficient_user_authentication`: this
   * browser goes on in a new session, elevated for a short time, and the request can be repeated.
   * Rejects with `Refused`: `invalid_grant` for a wrong password, `factor_required`,
   * `factor_refused`, `invalid_scope`, `insufficient_user_authentication` where it is not enough.
   */
  elevate(proof: Elevation): Promise<SignedIn>;
  /**
   * `fetch` with the access token, for the issuer's origin and `apiOrigins` alone; any other
   * address is fetched as it is. Rejects with `SignedOutError`, `Unreachable` or `RedirectRefused`.
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** Calls `listener` at once and on every change; returns what takes it off again. */
  onChange(listener: (state: SessionState) => void): () => void;
  /** Calls `listener` at each warning time; returns what takes it off again. */
  onExpiring(listener: (event: ExpiringEvent) => void): () => void;
  /** How long the session lasts if nobody does anything. */
  remaining(): Remaining;
  /** The person is here: moves the idle end, and says how long the session lasts now. */
  stayActive(): Promise<Remaining>;
  sessions(): Promise<readonly SessionInfo[]>;
  endSession(sid: string): Promise<void>;
  /** Takes all listeners and timers off. The session itself lives on. */
  close(): void;
}

/**
 * Begins, or takes up again, this browser's session. Call it once, when the page loads. Without a
 * document (on a server, in a worker) the state stays `restoring`, and nothing happens by itself.
 * Throws `TypeError` naming the option that is wrong.
 */
export function createSession(options: SessionOptions): Session;

/** Root of everything that the module raises. */
export class SessionError extends Error {
  constructor(message: string);
}

/**
 * No usable answer: no network, a time-out, a server's error, or 429 for too many attempts. Nobody is
 * logged out by it.
 */
export class Unreachable extends SessionError {
  constructor(status?: number | null, retryAfter?: number | null);
  readonly code: "unreachable";
  /**
   * The answer's status, or `null` if there was none; so also for an origin that is not listed, since
   * the browser keeps that answer from the page.
   */
  readonly status: number | null;
  /** Seconds after which the server asks to try again. */
  readonly retryAfter: number | null;
}

/** The issuer said no. */
export class Refused extends SessionError {
  constructor(
    status: number,
    error: RefusalCode,
    description: string,
    wanted?: { factors?: readonly string[]; webauthn?: object | null },
  );
  readonly code: "refused";
  readonly status: number;
  readonly error: RefusalCode;
  /** The issuer's words, in English. */
  readonly description: string;
  /** With `factor_required`: `totp`, `webauthn` or `recovery_code`. */
  readonly factors: readonly string[];
  /** With it, for an account with a passkey: for `PublicKeyCredential.parseRequestOptionsFromJSON`. */
  readonly webauthn: object | null;
}

/** Nobody is signed in, so there is no token to send. */
export class SignedOutError extends SessionError {
  constructor(reason: SignedOutReason);
  readonly code: "signed_out";
  readonly reason: SignedOutReason;
}

/** An API answered a request that bore the token with a redirect, which is never followed. */
export class RedirectRefused extends SessionError {
  readonly code: "redirect_refused";
}

/** Every failure; its `code` tells the kinds apart. */
export type SessionFailure = Unreachable | Refused | SignedOutError | RedirectRefused;

export type RefusalCode =
  | "invalid_grant"
  | "invalid_request"
  | "invalid_client"
  | "unauthorized_client"
  | "invalid_token"
  | "access_denied"
  | "not_found"
  | "conflict"
  | "factor_required"
  | "factor_refused"
  | "insufficient_user_authentication"
  | "invalid_scope"
  | "unknown";

/** Narrows what a `catch` caught. */
export function isSessionFailure(error: unknown): error is SessionFailure;
