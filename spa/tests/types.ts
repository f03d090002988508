/** What the types promise; checked by the compiler, never run. */

import {
  createSession,
  isSessionFailure,
  type Session,
  type SessionState,
  type SignedOutReason,
} from "gatepass-spa";
import * as source from "../src/index.js";
import * as declared from "../types/index.js";

// What is declared is what there is.
export const module: typeof declared = source;

const session: Session = createSession({ issuer: "https://id.example", apiOrigins: [] });

export function described(state: SessionState): string {
  switch (state.status) {
    case "restoring":
      return state.reachable ? "asking" : "waiting for the network";
    case "signedIn":
      // @ts-expect-error a state is not to be changed
      state.sid = "another";
      return `${state.sid} ${state.expiring ?? ""}`;
    case "signedOut": {
      // @ts-expect-error there is no session to name
      void state.sid;
      const reason: SignedOutReason = state.reason;
      return reason;
    }
  }
}

export async function explained(): Promise<string> {
  try {
    const response = await session.fetch("/api", { method: "POST", body: "x" });
    return await response.text();
  } catch (error) {
    if (!isSessionFailure(error)) throw error;
    switch (error.code) {
      case "unreachable":
        return `${error.status} ${error.retryAfter}`;
      case "refused":
        return error.error === "invalid_grant" ? "wrong" : error.description;
      case "signed_out":
        return error.reason;
      case "redirect_refused":
        return error.message;
    }
  }
}

// @ts-expect-error the issuer must be named
createSession({});
// @ts-expect-error no token is to be had
void session.token;
// @ts-expect-error a misspelt option
createSession({ issuer: "https://id.example", warnbefore: {} });
const stop: () => void = session.onExpiring(({ end, secondsLeft }) => `${end} ${secondsLeft + 1}`);
stop();
