import type { Session, SessionState } from "gatepass-spa";
import { useSyncExternalStore } from "react";

/** On a server nobody is known yet. */
const RESTORING: SessionState = { status: "restoring", reachable: true };

/** The state of a session, made once outside of any component; renders again on every change. */
export function useSession(session: Session): SessionState {
  return useSyncExternalStore(
    session.onChange,
    () => session.state,
    () => RESTORING,
  );
}
