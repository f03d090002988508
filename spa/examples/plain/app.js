// With a bundler: from "gatepass-spa".
import { createSession, isSessionFailure } from "../../src/index.js";

/** @param {string} name */
const setting = (name) => document.querySelector(`meta[name=${name}]`)?.getAttribute("content") ?? "";
/** @param {string} id */
const part = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const api = setting("api");
const session = createSession({ issuer: setting("issuer"), apiOrigins: [new URL(api).origin] });

let shown = "";

session.onChange((state) => {
  // While it is `restoring` neither the form nor private content is shown.
  part("restoring").hidden = state.status !== "restoring";
  part("login").hidden = state.status !== "signedOut";
  part("inside").hidden = state.status !== "signedIn";
  if (state.status === "signedIn") {
    part("stay").hidden = state.expiring !== "idle";
    part("expiring").textContent = state.expiring ? "Your session ends soon." : "";
  }
  const sid = state.status === "signedIn" ? state.sid : "";
  if (sid !== shown) {
    shown = sid;
    part("answer").textContent = ""; // nothing private outlives the session
    if (sid) void show(sid);
  }
});

/** @param {string} sid whose answer it is */
async function show(sid) {
  let text;
  try {
    text = await (await session.fetch(api)).text();
  } catch {
    text = "The API does not answer.";
  }
  if (sid === shown) part("answer").textContent = text;
}

part("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.target);
  const fields = new FormData(form);
  part("trouble").textContent = "";
  try {
    await session.login({
      username: String(fields.get("username")),
      password: String(fields.get("password")),
    });
    form.reset();
  } catch (error) {
    if (!isSessionFailure(error)) throw error;
    const wrong = error.code === "refused" && error.error === "invalid_grant";
    const often = error.code === "unreachable" && error.status === 429;
    const later = often ? "Too many attempts. Please try again later." : "Please try again later.";
    part("trouble").textContent = wrong ? "Wrong name or password." : later;
  }
});

// Offline: the warning stays, and the module asks again.
part("stay").addEventListener("click", () => session.stayActive().catch(() => {}));
// Everybody is signed out here all the same; the issuer is told as soon as it answers.
part("logout").addEventListener("click", () => session.logout().catch(() => {}));
