export {
  isSessionFailure,
  RedirectRefused,
  Refused,
  SessionError,
  SignedOutError,
  Unreachable,
} from "./errors.js";
export { createSession } from "./session.js";
