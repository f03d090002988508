/**
 * One at a time over all tabs.
 *
 * With Web Locks; without them by a lease in storage. Neither can block the tabs for long: a holder
 * is never at work for longer than `LONGEST_HOLD`, so one that is has been frozen by the browser, and
 * its lock is taken. Two holders at once do no harm, since the issuer gives the same successor to
 * everybody who refreshes within its reuse interval; they are only not wanted.
 */

export const LONGEST_HOLD = 15_000;
const CHECK = 50;

/**
 * @param {import("./environment.js").Environment} env
 * @param {string} name
 * @param {() => void} announce tells the other tabs that this one has taken the lock
 */
export function createLock(env, name, announce) {
  let lastTaken = env.monotonic();

  /** @param {number} delay */
  const sleep = (delay) => new Promise((resolve) => env.setTimeout(() => resolve(null), delay));

  /**
   * @template T
   * @param {() => Promise<T>} task
   * @param {number} patience
   * @returns {Promise<T>}
   */
  function withWebLocks(task, patience) {
    const locks = /** @type {import("./environment.js").Locks} */ (env.locks);
    return new Promise((resolve, reject) => {
      const waiting = new AbortController();
      let begun = false;
      /** @type {unknown} */
      let timer;

      async function begin() {
        if (begun) return;
        begun = true;
        env.clearTimeout(timer);
        lastTaken = env.monotonic();
        announce();
        await task().then(resolve, reject);
      }

      function takeFromFrozen() {
        if (begun) return;
        const idle = env.monotonic() - Math.max(lastTaken, asked);
        if (idle < patience) {
          timer = env.setTimeout(takeFromFrozen, patience - idle);
          return;
        }
        waiting.abort();
        request({ steal: true });
      }

      /** @param {import("./environment.js").LockOptions} options */
      function request(options) {
        locks.request(name, options, begin).catch(() => {
          // Stolen from us: the task goes on. Aborted by us: the theft is under way. Anything else
          // is a page that may not lock, and then the issuer's own rule has to do.
          if (!begun && !(options.signal?.aborted ?? false)) void begin();
        });
      }

      const asked = env.monotonic();
      timer = env.setTimeout(takeFromFrozen, patience * (1 + env.random() / 3));
      request({ signal: waiting.signal });
    });
  }

  /**
   * @template T
   * @param {() => Promise<T>} task
   * @param {number} patience
   * @returns {Promise<T>}
   */
  async function withLease(task, patience) {
    const store = /** @type {import("./environment.js").Store} */ (env.storage);
    const key = `${name}:lease`;
    const owner = `${env.random()}`.slice(2);
    const asked = env.monotonic();

    const holder = () => {
      const [who = "", until = ""] = (store.getItem(key) ?? "").split(" ");
      const left = Number(until) - env.wall();
      // A lease from the future was written before the clock was set back.
      return left > 0 && left <= LONGEST_HOLD ? who : "";
    };

    try {
      while (holder() !== owner) {
        if (holder() === "" || env.monotonic() - asked > patience) {
          store.setItem(key, `${owner} ${env.wall() + LONGEST_HOLD}`);
        }
        // Whoever wrote last within this time has it.
        await sleep(CHECK * (1 + env.random()));
      }
    } catch {
      return task(); // storage is full or forbidden
    }
    try {
      return await task();
    } finally {
      if (holder() === owner) store.removeItem(key);
    }
  }

  return {
    /** Another tab has taken the lock, so whoever holds it is not frozen. */
    heard() {
      lastTaken = env.monotonic();
    },
    /**
     * Run `task` while no other tab does.
     *
     * @template T
     * @param {() => Promise<T>} task takes less than `LONGEST_HOLD`
     * @param {number} [patience] milliseconds after which a silent holder loses the lock
     * @returns {Promise<T>}
     */
    run(task, patience = LONGEST_HOLD) {
      if (env.locks) return withWebLocks(task, patience);
      return env.storage ? withLease(task, patience) : task();
    },
  };
}

/** @typedef {ReturnType<typeof createLock>} Lock */
