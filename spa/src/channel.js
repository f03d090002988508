/**
 * News between the tabs of one origin.
 *
 * The access token goes along, but only over a BroadcastChannel, which is memory: whoever can listen
 * there is a script of this very origin, and such a script can ask the issuer for a token of its own
 * with the browser's cookie. In return twelve tabs refresh once instead of twelve times. Where there
 * is no BroadcastChannel, news goes through storage events without the token, since storage is
 * written to disk.
 *
 * @typedef {{ type: "grant", sid: string, token?: string, tokenLeft: number, idleLeft: number | null,
 *   absoluteLeft: number, asked: number, fresh: boolean, replaces: string | null }} GrantNews times in ms; asked: how long ago
 * @typedef {{ type: "ended", sid: string | null, reason: import("../types/index.js").SignedOutReason }} EndedNews
 * @typedef {{ type: "active", ago: number }} ActiveNews the person did something `ago` ms ago
 * @typedef {{ type: "holding" }} HoldingNews the sender has taken the lock
 * @typedef {GrantNews | EndedNews | ActiveNews | HoldingNews} News
 */

const VERSION = 1;
const REASONS = new Set(["none", "logout", "idle", "absolute", "ended"]);

/**
 * @param {import("./environment.js").Environment} env
 * @param {string} name
 * @param {(news: News, age: number) => void} receive `age`: milliseconds that it was under way
 */
export function createChannel(env, name, receive) {
  const key = `${name}:news`;
  /** @type {import("./environment.js").Channel | null} */
  let channel = null;

  /** @param {unknown} data */
  function read(data) {
    const { v: version, at, ...news } = /** @type {any} */ (data ?? {});
    if (version !== VERSION || typeof at !== "number" || !isNews(news)) return;
    // A tab that was frozen reads late; a clock that was set back must not make news from the future.
    receive(news, Math.max(0, env.wall() - at));
  }

  /** @param {Event} event */
  function stored(event) {
    const { key: changed, newValue } = /** @type {StorageEvent} */ (event);
    if (changed !== key || !newValue) return;
    try {
      read(JSON.parse(newValue));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }

  return {
    open() {
      if (channel) return;
      if (env.openChannel) {
        channel = env.openChannel(name);
        channel.onmessage = (event) => read(event.data);
      } else {
        env.window?.addEventListener("storage", stored);
      }
    },
    close() {
      channel?.close();
      channel = null;
      env.window?.removeEventListener("storage", stored);
    },
    /** @param {News} news */
    post(news) {
      const message = { ...news, v: VERSION, at: env.wall() };
      if (env.openChannel) {
        channel?.postMessage(message);
        return;
      }
      // An event is fired only for another value, hence the number.
      const written = { ...message, token: undefined, once: env.random() };
      try {
        env.storage?.setItem(key, JSON.stringify(written));
        env.storage?.removeItem(key);
      } catch {
        // Full or forbidden: the other tabs find out at their own next refresh.
      }
    },
  };
}

/** @typedef {ReturnType<typeof createChannel>} NewsChannel */

/**
 * @param {any} news
 * @returns {news is News}
 */
function isNews(news) {
  const number = (/** @type {unknown} */ value) => Number.isFinite(value);
  const text = (/** @type {unknown} */ value) => typeof value === "string";
  switch (news.type) {
    case "grant":
      return (
        text(news.sid) &&
        (news.token === undefined || text(news.token)) &&
        number(news.tokenLeft) &&
        (news.idleLeft === null || number(news.idleLeft)) &&
        number(news.absoluteLeft) &&
        number(news.asked) &&
        typeof news.fresh === "boolean" &&
        (news.replaces === null || text(news.replaces))
      );
    case "ended":
      return (news.sid === null || text(news.sid)) && REASONS.has(news.reason);
    case "active":
      return number(news.ago) && news.ago >= 0;
    default:
      return news.type === "holding";
  }
}
