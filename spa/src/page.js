/**
 * What happens to a page besides being looked at: put away and brought back, frozen, offline.
 *
 * A page in the back-forward cache hears no news, so it lets its token go, shows `restoring` before it
 * is put away, and asks anew when it comes back.
 */

/**
 * @param {import("./environment.js").Environment} env
 * @param {object} parts
 * @param {import("./holder.js").Holder} parts.holder
 * @param {import("./channel.js").NewsChannel} parts.channel
 * @param {import("./refresh.js").Refresher} parts.refresher
 * @param {import("./watch.js").Watch} parts.watch
 * @param {import("./account.js").Account} parts.account
 * @param {() => void} parts.restore
 */
export function followPage(env, { holder, channel, refresher, watch, account, restore }) {
  /** @type {[EventTarget | null, string, (event: any) => void][]} */
  const handlers = [
    [
      env.window,
      "pagehide",
      ({ persisted }) => {
        if (!persisted) return;
        holder.doubt();
        channel.close();
      },
    ],
    [
      env.window,
      "pageshow",
      ({ persisted }) => {
        if (!persisted) return;
        channel.open();
        restore();
      },
    ],
    [
      env.document,
      "resume",
      () => {
        watch.look();
        if (holder.grant()) refresher.inBackground();
      },
    ],
    [env.document, "visibilitychange", () => watch.look()],
    [
      env.window,
      "online",
      () => {
        watch.look();
        refresher.hurry();
        account.hurry();
      },
    ],
  ];
  for (const [target, name, handle] of handlers) target?.addEventListener(name, handle);
  return {
    close() {
      for (const [target, name, handle] of handlers) target?.removeEventListener(name, handle);
    },
  };
}
