/** Sign in. */

import { box, busy, button, explain, part, tell } from "./dom.js";

/** @param {import("../types/index.js").Session} session */
export function signIn(session) {
  const form = part("#sign-in", HTMLFormElement);
  const username = part("#username", HTMLInputElement);
  const password = part("#password", HTMLInputElement);
  const error = box("#sign-in-error");
  const submit = button("#sign-in [type=submit]");

  /** @param {string} text */
  function refuse(text) {
    tell(error, text);
    for (const input of [username, password]) input.setAttribute("aria-invalid", `${text !== ""}`);
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
        refuse(explain(failure, { invalid_grant: "User name or password is wrong." }));
        password.focus();
        password.select();
      }
    });
  });

  return {
    enter() {
      refuse("");
      password.value = "";
      (username.value === "" ? username : password).focus();
    },
  };
}
