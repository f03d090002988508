/**
 * What is kept in `localStorage`: whether a session may exist, and when the person was last active.
 *
 * Neither is a secret nor opens anything. The first only saves a question to the issuer when nobody
 * is signed in, and tells a page that loads whether to wait for the answer or to show the login form;
 * who forges it gets a question that the issuer answers with no. The second carries activity over to
 * the next page, as the hint that it is.
 */

/**
 * @param {import("./environment.js").Environment} env
 * @param {string} name
 */
export function createMarks(env, name) {
  const session = `${name}:session`;
  const active = `${name}:active`;

  /**
   * @template T
   * @param {(store: import("./environment.js").Store) => T} use
   * @param {T} otherwise
   */
  function attempt(use, otherwise) {
    try {
      return env.storage ? use(env.storage) : otherwise;
    } catch {
      return otherwise;
    }
  }

  return {
    /**
     * `leaving`: the person has signed out and the issuer has not been told yet.
     *
     * @returns {"maybe" | "leaving" | "none"}
     */
    session() {
      const value = attempt((store) => store.getItem(session) ?? "none", "maybe");
      return value === "leaving" || value === "none" ? value : "maybe";
    },
    /** @param {"maybe" | "leaving" | "none"} value */
    setSession(value) {
      attempt((store) => {
        if (value === "none") store.removeItem(session);
        else store.setItem(session, value);
      }, undefined);
    },
    /** Milliseconds since the person was active on any page, or null. */
    activeAgo() {
      const value = attempt((store) => store.getItem(active), null);
      const ago = value === null ? NaN : env.wall() - Number(value);
      return ago >= 0 ? ago : null;
    },
    setActive() {
      attempt((store) => store.setItem(active, `${env.wall()}`), undefined);
    },
  };
}

/** @typedef {ReturnType<typeof createMarks>} Marks */
