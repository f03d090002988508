/** The demo's page: one session, and which view shows for its state. */

import { createSession } from "../src/index.js";
import { showDevices } from "./devices.js";
import { box, busy, button, explain, part, tell } from "./dom.js";
import { warnOfEnd } from "./expiry.js";
import { createLog, watchGateway } from "./gateway.js";
import { changePassword } from "./password.js";
import { signIn } from "./sign-in.js";
import { countDown } from "./wait.js";

const VIEWS = ["gateway", "devices", "password"];
const REASONS = {
  none: "",
  logout: "You are signed out.",
  idle: "You were signed out because nothing happened for a while.",
  absolute: "Your session has reached its end. Please sign in again.",
  ended: "This session was ended: on another device, by a password change, or by an administrator.",
};

const STAYING = "The server does not answer just now. You stay signed in.";
const BUSY = "The server was asked too often.";

const log = createLog();
const session = createSession({
  // The page's own origin: the demo answers under 127.0.0.1 and under localhost.
  issuer: location.origin,
  fetch: log.observe,
  label: deviceName(),
});

const notice = box("#notice");
const pages = box("#pages");
const signOut = button("#sign-out");
const signInView = signIn(session);
/** @type {Record<string, { enter(): void, leave(): void }>} */
const views = {
  gateway: watchGateway(session, log),
  devices: showDevices(session),
  password: changePassword(session, (text) => say(text, "good")),
};
warnOfEnd(session);

/** @type {string | null} */
let shown = null;

/**
 * @param {string} text
 * @param {"good" | "bad" | "plain"} [kind]
 */
function say(text, kind = "plain") {
  notice.dataset.kind = kind;
  tell(notice, text);
}

/** The view that the address names. */
function wanted() {
  const name = location.hash.slice(1);
  return VIEWS.includes(name) ? name : "gateway";
}

/** @param {string} name */
function show(name) {
  if (shown === name) return;
  const first = shown === null || shown === "restoring";
  if (shown !== null) views[shown]?.leave();
  shown = name;
  for (const view of ["restoring", "sign-in", ...VIEWS]) box(`#view-${view}`).hidden = view !== name;
  const inside = VIEWS.includes(name);
  pages.hidden = !inside;
  signOut.hidden = !inside;
  // Whoever watched a revocation land sees the refusal beside the form.
  const beside = name === "sign-in" && log.worthShowing();
  box("#log").hidden = !(name === "gateway" || beside);
  box("main").classList.toggle("beside", beside);
  log.stand(beside);
  for (const link of pages.querySelectorAll("a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const heading = document.querySelector(`#view-${name} h1`);
  document.title = heading ? `${heading.textContent} · Gatepass demo` : "Gatepass demo";
  views[name]?.enter();
  if (name === "sign-in") signInView.enter();
  // A reader who has just come begins at the top; one who goes on is taken to what is new.
  else if (!first && heading instanceof HTMLElement) heading.focus();
}

session.onChange((state) => {
  switch (state.status) {
    case "restoring":
      box("#restoring-text").textContent = state.reachable ? "" : "The server does not answer. Trying again…";
      if (state.retryAfter) {
        countDown(box("#restoring-text"), `${BUSY} It is asked again in`, state.retryAfter, "Trying again…");
      }
      show("restoring");
      break;
    case "signedOut":
      log.ended(state.reason);
      say(REASONS[state.reason], state.reason === "logout" ? "plain" : "bad");
      // Whoever is signed in again goes on as the same person.
      if (["ended", "idle", "absolute"].includes(state.reason)) signInView.remember();
      show("sign-in");
      break;
    case "signedIn":
      if (shown === "sign-in") say("");
      show(wanted());
      if (state.retryAfter) {
        say(BUSY, "bad");
        countDown(notice, `${BUSY} You stay signed in; it is asked again in`, state.retryAfter, STAYING);
      } else if (!state.reachable) say(STAYING, "bad");
      else if (notice.textContent?.startsWith(BUSY) || notice.textContent === STAYING) say("");
  }
});

window.addEventListener("hashchange", () => {
  if (session.state.status !== "signedIn") return;
  say("");
  show(wanted());
});

// The address names the view, so the link to the content leaves it alone.
part(".skip", HTMLAnchorElement).addEventListener("click", (event) => {
  event.preventDefault();
  box("main").focus();
});

signOut.addEventListener("click", () =>
  busy(signOut, async () => {
    try {
      await session.logout();
    } catch (error) {
      say(`You are signed out here. ${explain(error)}`, "bad");
    }
  }),
);

for (const reveal of document.querySelectorAll("[data-reveals]")) {
  if (!(reveal instanceof HTMLButtonElement)) continue;
  reveal.addEventListener("click", () => {
    const input = part(`#${reveal.dataset.reveals}`, HTMLInputElement);
    const visible = input.type === "password";
    input.type = visible ? "text" : "password";
    const label = reveal.getAttribute("aria-label") ?? "";
    reveal.textContent = visible ? "Hide" : "Show";
    // The name begins with what is to be seen (WCAG 2.5.3).
    reveal.setAttribute("aria-label", label.replace(/^\w+/, reveal.textContent));
  });
}

/** What the list of devices calls this browser. */
function deviceName() {
  const agent = navigator.userAgent;
  const browser = ["Edg", "OPR", "Firefox", "Chrome", "Safari"].find((name) => agent.includes(name));
  const system = ["Android", "iPhone", "iPad", "Windows", "Mac OS", "CrOS", "Linux"].find((name) =>
    agent.includes(name),
  );
  const names = { Edg: "Edge", OPR: "Opera", Chrome: "Chrome", "Mac OS": "macOS", CrOS: "ChromeOS" };
  const readable = (/** @type {string | undefined} */ name) =>
    name && (/** @type {Record<string, string>} */ (names)[name] ?? name);
  return `${readable(browser) ?? "A browser"} on ${readable(system) ?? "some system"}`;
}
