/** `createSession`: wires the parts together and is what an app sees. */

import { createAccount } from "./account.js";
import { createActivity } from "./activity.js";
import { createApi } from "./api.js";
import { createChannel } from "./channel.js";
import { createClock } from "./clock.js";
import { browserEnvironment } from "./environment.js";
import { createHolder } from "./holder.js";
import { createIssuer } from "./issuer.js";
import { createLock } from "./lock.js";
import { createMarks } from "./marks.js";
import { readOptions } from "./options.js";
import { followPage } from "./page.js";
import { createRefresher } from "./refresh.js";
import { createWatch } from "./watch.js";

/**
 * @param {import("../types/index.js").SessionOptions} options
 * @param {import("./environment.js").Environment} [environment] for tests
 * @returns {import("../types/index.js").Session}
 */
export function createSession(options, environment = browserEnvironment()) {
  const { base, origins, name, clientId, label, warnBefore } = readOptions(options);
  const { fetch: own } = options;
  // Called bare: a browser's `fetch` takes no other object than its window as `this`.
  /** @type {typeof environment} */
  const env = own ? { ...environment, fetch: (input, init) => own(input, init) } : environment;
  const clock = createClock(env);
  const marks = createMarks(env, name);
  const holder = createHolder();
  const issuer = createIssuer(env, base);
  const channel = createChannel(env, name, receive);
  const lock = createLock(env, name, () => channel.post({ type: "holding" }));
  const activity = createActivity(env, clock, {
    noticed: () => watch.look(),
    tell() {
      marks.setActive();
      channel.post({ type: "active", ago: 0 });
    },
  });
  const refresher = createRefresher({ env, clock, lock, issuer, holder, activity, accept, ended });
  const watch = createWatch({ env, clock, holder, refresher, warnBefore });
  const api = createApi({ env, clock, holder, refresher, watch, origins });
  const account = createAccount({
    env, clock, lock, issuer, holder, marks, activity, refresher, watch, clientId, label, accept, ended,
  });

  /**
   * Tokens from the issuer's own mouth, for this tab and the others.
   *
   * @param {import("./issuer.js").Answer} answer
   * @param {number} began when it was asked for
   * @param {boolean} [fresh] whether a login or a password change made a new session
   */
  function accept({ access_token: token, expires_in: life, session }, began, fresh = false) {
    const { sid, idle_expires_in: idle, absolute_expires_in: absolute } = session;
    const before = holder.grant()?.sid ?? null;
    const replaces = fresh && before !== sid ? before : null;
    const grant = {
      sid,
      token,
      began,
      tokenEnd: began + life * 1000,
      idleEnd: idle === null ? null : began + idle * 1000,
      absoluteEnd: began + absolute * 1000,
    };
    // Its session has ended while the answer was under way.
    if (holder.adopt(grant, { fresh: true, replaces }) === "over") {
      if (before === null) holder.end(null, "ended");
      return;
    }
    marks.setSession("maybe");
    const now = clock.now();
    channel.post({
      type: "grant",
      sid,
      token,
      asked: now - began,
      tokenLeft: grant.tokenEnd - now,
      idleLeft: grant.idleEnd === null ? null : grant.idleEnd - now,
      absoluteLeft: grant.absoluteEnd - now,
      fresh,
      replaces,
    });
    watch.look();
  }

  /**
   * The session is over; the other tabs are told.
   *
   * @param {string | null} sid
   * @param {import("../types/index.js").SignedOutReason} reason
   */
  function ended(sid, reason) {
    if (marks.session() !== "leaving") marks.setSession("none");
    channel.post({ type: "ended", sid, reason });
    holder.end(sid, reason);
  }

  /**
   * @param {import("./channel.js").News} news
   * @param {number} age
   */
  function receive(news, age) {
    const sent = clock.now() - age;
    switch (news.type) {
      case "holding":
        lock.heard();
        break;
      case "active":
        activity.heard(age + news.ago);
        watch.look();
        break;
      case "ended":
        // Without a name: a logout is of whatever there is; else only the issuer knows.
        if (news.sid !== null || news.reason === "logout") holder.end(news.sid, news.reason);
        else if (holder.grant()) refresher.inBackground();
        break;
      case "grant": {
        const { sid, token = null, fresh, replaces, idleLeft } = news;
        const taken = holder.adopt(
          {
            sid,
            token,
            began: sent - news.asked,
            tokenEnd: sent + news.tokenLeft,
            idleEnd: idleLeft === null ? null : sent + idleLeft,
            absoluteEnd: sent + news.absoluteLeft,
          },
          { fresh, replaces },
        );
        if (taken === "other") refresher.inBackground();
        watch.look();
      }
    }
  }

  function restore() {
    const mark = marks.session();
    if (mark === "maybe") {
      holder.restart();
      const ago = marks.activeAgo();
      if (ago !== null) activity.heard(ago);
      refresher.inBackground();
    } else {
      holder.end(null, mark === "leaving" ? "logout" : "none");
      if (mark === "leaving") account.finishLogout();
    }
  }

  const page = followPage(env, { holder, channel, refresher, watch, account, restore });
  if (env.document) {
    channel.open();
    restore();
  } else {
    // On a server nobody is known, and nothing may go on by itself: the state stays `restoring`.
    for (const part of [watch, refresher, account]) part.close();
  }

  /** @type {import("../types/index.js").Session["ready"]} */
  const ready = new Promise((resolve) => {
    const stop = holder.onChange((state) => {
      if (state.status === "restoring") return;
      resolve(state);
      queueMicrotask(() => stop());
    });
  });

  return Object.freeze({
    get state() {
      return holder.state();
    },
    ready,
    login: account.login,
    logout: account.logout,
    logoutEverywhere: account.logoutEverywhere,
    changePassword: account.changePassword,
    elevate: account.elevate,
    sessions: account.sessions,
    endSession: account.endSession,
    fetch: api,
    onChange: holder.onChange,
    onExpiring: watch.onExpiring,
    remaining: watch.remaining,
    async stayActive() {
      activity.note();
      await refresher.refresh();
      // The refresh that was under way may have been sent before the person said so.
      if (refresher.unreported()) await refresher.refresh();
      return watch.remaining();
    },
    close() {
      for (const part of [page, activity, watch, refresher, account, channel]) part.close();
      holder.clear();
    },
  });
}
