import { createSession, isSessionFailure } from "../../src/index.js";

/** @param {string} id */
const part = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const api = "/api"; // through the back end
const session = createSession({ issuer: location.origin });

session.onChange(({ status }) => {
  part("restoring").hidden = status !== "restoring";
  part("login").hidden = status !== "signedOut";
  part("inside").hidden = status !== "signedIn";
  if (status !== "signedIn") part("answer").textContent = "";
});

part("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(/** @type {HTMLFormElement} */ (event.target));
  part("trouble").textContent = "";
  try {
    await session.login({
      username: String(fields.get("username")),
      password: String(fields.get("password")),
    });
    /** @type {HTMLFormElement} */ (event.target).reset();
  } catch (error) {
    if (!isSessionFailure(error)) throw error;
    part("trouble").textContent = error.message;
  }
});

part("call").addEventListener("click", async () => {
  try {
    const answer = await session.fetch(api);
    part("answer").textContent = `${answer.status} ${await answer.text()}`;
  } catch {
    part("answer").textContent = "no answer";
  }
});
// Everybody is signed out here all the same; the issuer is told as soon as it answers.
part("logout").addEventListener("click", () => session.logout().catch(() => {}));
