/**
 * What the module needs of a browser, in one place, so that tests can put their own there and an
 * absent part (no Web Locks, no storage, no window at all) is `null`.
 *
 * @typedef {object} Channel
 * @property {(message: unknown) => void} postMessage
 * @property {((event: { data: unknown }) => void) | null} onmessage
 * @property {() => void} close
 *
 * @typedef {object} LockOptions
 * @property {AbortSignal} [signal]
 * @property {boolean} [steal]
 *
 * @typedef {object} Locks
 * @property {(name: string, options: LockOptions, task: () => Promise<void>) => Promise<unknown>} request
 *
 * @typedef {Pick<Storage, "getItem" | "setItem" | "removeItem">} Store
 *
 * @typedef {object} Environment
 * @property {(input: string | URL | Request, init?: RequestInit) => Promise<Response>} fetch
 * @property {Locks | null} locks
 * @property {((name: string) => Channel) | null} openChannel
 * @property {Store | null} storage
 * @property {EventTarget | null} window
 * @property {(EventTarget & { visibilityState?: string }) | null} document
 * @property {string} base what relative addresses are relative to
 * @property {() => number} monotonic milliseconds; may stand still while the machine sleeps
 * @property {() => number} wall milliseconds since 1970; may jump
 * @property {(task: () => void, delay: number) => unknown} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random
 */

/** @returns {Environment} */
export function browserEnvironment() {
  const page = typeof document === "undefined" ? null : document;
  const hasChannel = page !== null && typeof BroadcastChannel === "function";
  return {
    fetch: (input, init) => globalThis.fetch(input, init),
    locks: (page && navigator.locks) ?? null,
    openChannel: hasChannel
      ? (name) => /** @type {Channel} */ (/** @type {unknown} */ (new BroadcastChannel(name)))
      : null,
    storage: usableStorage(),
    window: page && window,
    document: page,
    base: page ? page.baseURI : "about:blank",
    monotonic: () => performance.now(),
    wall: () => Date.now(),
    setTimeout: (task, delay) => globalThis.setTimeout(task, delay),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
    random: Math.random,
  };
}

/** Reading the property alone throws where a person has forbidden storage. */
function usableStorage() {
  try {
    return typeof window === "undefined" ? null : window.localStorage;
  } catch {
    return null;
  }
}
