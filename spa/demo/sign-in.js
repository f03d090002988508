/** Sign in. */

import { isSessionFailure } from "../src/index.js";
import { box, busy, button, explain, part, tell } from "./dom.js";
import { countDown, waitOf } from "./wait.js";

const TOO_MANY = "Too many attempts. You can try again in";

/** @param {import("../types/index.js").Session} session */
export function signIn(session) {
  const form = part("#sign-in", HTMLFormElement);
  const username = part("#username", HTMLInputElement);
  const password = part("#password", HTMLInputElement);
  const error = box("#sign-in-error");
  const submit = button("#sign-in [type=submit]");

  /**
   * @param {string} text
   * @param {boolean} [wrong] what was typed, and not only the line to the server
   */
  function refuse(text, wrong = false) {
    tell(error, text);
    for (const input of [username, password]) input.setAttribute("aria-invalid", `${wrong}`);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(submit, async () => {
      refuse("");
      try {
        await session.login({ username: username.value, password: password.value });
        // For password managers, when the password is changed.
        part("#change-username", HTMLInputElement).value = username.value;
        form.reset();
      } catch (failure) {
        const text = explain(failure, { invalid_grant: "User name or password is wrong." });
        refuse(text, isSessionFailure(failure) && failure.code === "refused");
        const wait = waitOf(failure);
        if (wait !== null) countDown(error, TOO_MANY, wait, "You can try again now.");
        password.focus();
        password.select();
      }
    });
  });

  return {
    /** Fill in the name of whoever was signed in last. */
    remember() {
      username.value = part("#change-username", HTMLInputElement).value;
    },
    enter() {
      refuse("");
      password.value = "";
      (username.value === "" ? username : password).focus();
    },
  };
}
