/** "Your session ends in 2:00: stay signed in?" */

import { box, busy, button, clockface, part, tell } from "./dom.js";

/** Seconds at which a screen reader hears it again. */
const SPOKEN = [60, 30, 10];
const TEXTS = {
  idle: "You have not done anything for a while. Stay signed in to go on where you are.",
  absolute: "It has lasted as long as a session may. Save what you are doing; then sign in again.",
};

/** @param {import("../types/index.js").Session} session */
export function warnOfEnd(session) {
  const dialog = part("#expiry", HTMLDialogElement);
  const left = box("#expiry-left");
  const news = box("#expiry-news");
  const stay = button("#stay");
  /** @type {import("../types/index.js").End | null} */
  let end = null;
  /** @type {import("../types/index.js").End | null} what it was about when the button was pressed */
  let meant = null;
  /** @type {number | undefined} */
  let timer;
  let spoken = Infinity;

  function count() {
    const seconds = end && session.remaining()[end];
    if (seconds === null) return;
    left.textContent = clockface(seconds);
    const due = SPOKEN.filter((time) => seconds <= time).at(-1) ?? Infinity;
    if (due < spoken) news.textContent = `${seconds} seconds left.`;
    spoken = due;
  }

  function open() {
    tell(box("#expiry-text"), TEXTS[end ?? "idle"]);
    stay.textContent = end === "idle" ? "Stay signed in" : "Understood";
    news.textContent = "";
    spoken = Infinity;
    count();
    if (!dialog.open) dialog.showModal();
    clearInterval(timer);
    timer = setInterval(count, 250);
    stay.focus();
  }

  function close() {
    clearInterval(timer);
    if (dialog.open) dialog.close();
  }

  // The nearer of the two ends; `onExpiring` would tell each warning time by itself.
  session.onChange((state) => {
    const next = state.status === "signedIn" ? state.expiring : null;
    if (next === end) return;
    end = next;
    if (end) open();
    else close();
  });
  // To press it is activity, so that by the click this may already be about the other end.
  for (const press of ["pointerdown", "keydown"]) stay.addEventListener(press, () => (meant = end));
  stay.addEventListener("click", () =>
    busy(stay, async () => {
      const asked = meant ?? end;
      meant = null;
      if (asked === "idle") await session.stayActive().catch(() => {});
      else close();
    }),
  );
  button("#leave").addEventListener("click", () => void session.logout().catch(() => {}));
  // Escape says that the person is here, which is what the question was.
  dialog.addEventListener("cancel", () => {
    if (end === "idle") void session.stayActive().catch(() => {});
  });
}
