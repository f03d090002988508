import { useSyncExternalStore } from "react";

/**
 * The session's state in a component; it renders again on every change.
 *
 * @param {import("gatepass-spa").Session} session made once, outside of any component
 */
export function useSession(session) {
  return useSyncExternalStore(
    session.onChange,
    () => session.state,
    () => RESTORING,
  );
}

/** On a server nobody is known yet. @type {import("gatepass-spa").SessionState} */
const RESTORING = { status: "restoring", reachable: true };
