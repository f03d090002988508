import { onScopeDispose, readonly, shallowRef } from "vue";

/**
 * The session's state as a ref.
 *
 * @param {import("gatepass-spa").Session} session made once, outside of any component
 */
export function useSession(session) {
  const state = shallowRef(session.state);
  onScopeDispose(session.onChange((next) => (state.value = next)));
  return readonly(state);
}
