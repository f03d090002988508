// With a bundler: from "gatepass-spa".
import { createSession, isSessionFailure } from "../../src/index.js";

/** @param {string} name */
const setting = (name) => document.querySelector(`meta[name=${name}]`)?.getAttribute("content") ?? "";
/** @param {string} id */
const part = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const api = setting("api");
const session = createSession({ issuer: setting("issuer"), apiOrigins: [new URL(api).origin] });

session.onChange((state) => {
  // While it is `restoring` neither the form nor private content is shown.
  part("restoring").hidden = state.status !== "restoring";
  part("login").hidden = state.status !== "signedOut";
  part("inside").hidden = state.status !== "signedIn";
  if (state.status === "signedIn") {
    part("stay").hidden = state.expiring !== "idle";
    part("expiring").textContent = state.expiring ? "Your session ends soon." : "";
  } else {
    part("answer").textContent = ""; // nothing private outlives the session
  }
});

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
    part("answer").textContent = await (await session.fetch(api)).text();
  } catch (error) {
    if (!isSessionFailure(error)) throw error;
    const wrong = error.code === "refused" && error.error === "invalid_grant";
    part("trouble").textContent = wrong ? "Wrong name or password." : "Please try again later.";
  }
});

part("stay").addEventListener("click", () => session.stayActive());
part("logout").addEventListener("click", () => session.logout());
