/** Sign in. */

import { isSessionFailure } from "../src/index.js";
import { box, busy, button, explain, part, tell } from "./dom.js";
import { secondStep } from "./factor.js";
import { countDown, waitOf } from "./wait.js";

const TOO_MANY = "Too many attempts. You can try again in";
const WORDS = {
  invalid_grant: "User name or password is wrong.",
  factor_refused: "That was wrong, or has been used already.",
};
const NO_PASSKEY = "The passkey was not used. Try again, or type a code.";

/** @param {import("../types/index.js").Session} session */
export function signIn(session) {
  const form = part("#sign-in", HTMLFormElement);
  const username = part("#username", HTMLInputElement);
  const password = part("#password", HTMLInputElement);
  const error = box("#sign-in-error");
  const submit = button("#sign-in [type=submit]");
  const factor = secondStep(() => {
    void busy(factor.passkey, async () => {
      // A challenge that was answered or has grown old is replaced by a new one.
      if (!factor.ready) await attempt({});
      if (!factor.ready) return;
      let answer;
      try {
        answer = await factor.answer();
      } catch {
        refuse(NO_PASSKEY);
        return;
      }
      await attempt(answer);
    });
  });

  /**
   * @param {string} text
   * @param {boolean} [wrong] what was typed, and not only the line to the server
   */
  function refuse(text, wrong = false) {
    tell(error, text);
    for (const input of [username, password]) input.setAttribute("aria-invalid", `${wrong}`);
  }

  /** @param {object} given for the second factor */
  async function attempt(given) {
    refuse("");
    try {
      await session.login({ username: username.value, password: password.value, ...given });
      // For password managers, when the password is changed.
      part("#change-username", HTMLInputElement).value = username.value;
      form.reset();
      factor.forget();
    } catch (failure) {
      const refused = isSessionFailure(failure) && failure.code === "refused" ? failure.error : "";
      if (refused === "factor_required") {
        factor.ask(/** @type {import("../types/index.js").Refused} */ (failure));
        return;
      }
      refuse(explain(failure, WORDS), refused !== "" && refused !== "factor_refused");
      const wait = waitOf(failure);
      if (wait !== null) countDown(error, TOO_MANY, wait, "You can try again now.");
      if (refused === "factor_refused") {
        factor.again();
        return;
      }
      if (refused) factor.forget();
      password.focus();
      password.select();
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void busy(submit, () => attempt(factor.typed()));
  });
  for (const input of [username, password]) input.addEventListener("input", () => factor.forget());

  return {
    /** Fill in the name of whoever was signed in last. */
    remember() {
      username.value = part("#change-username", HTMLInputElement).value;
    },
    enter() {
      refuse("");
      factor.forget();
      password.value = "";
      (username.value === "" ? username : password).focus();
    },
  };
}
