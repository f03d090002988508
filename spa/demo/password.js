/** Change the password, with a judgement of the new one while it is typed. */

import { isSessionFailure } from "../src/index.js";
import { box, busy, button, explain, part, tell } from "./dom.js";
import { createJudge } from "./strength.js";
import { countDown, waitOf } from "./wait.js";

const WORDS = {
  short: (/** @type {number} */ more) => `${more} more ${more === 1 ? "character" : "characters"}.`,
  long: "That is too long.",
  blocked: "That is on the list of breached passwords, which are tried first.",
  guessable: "Easily guessed: common words, a pattern, or something repeated.",
  fair: "Acceptable. One more word would make it good.",
  good: "Good.",
  strong: "Very good.",
};

const TOO_MANY = "Too many attempts. Nothing was changed; you can try again in";

const UNKNOWN =
  "The server does not answer just now. It is not known whether the password was changed:"
  + " sign in with the new one if the old one fails.";

/**
 * @param {import("../types/index.js").Session} session
 * @param {(text: string) => void} done
 */
export function changePassword(session, done) {
  const form = part("#change", HTMLFormElement);
  const current = part("#current", HTMLInputElement);
  const chosen = part("#new", HTMLInputElement);
  const meter = box("#meter");
  const strength = box("#strength-text");
  const error = box("#change-error");
  const submit = button("#change [type=submit]");
  /** @type {ReturnType<typeof createJudge> | null} */
  let judge = null;

  async function learn() {
    if (judge) return;
    const answer = await fetch("/password/rules");
    if (answer.ok) judge = createJudge(await answer.json());
  }

  function look() {
    chosen.removeAttribute("aria-invalid");
    if (!judge || chosen.value === "") {
      meter.dataset.score = "0";
      strength.textContent = "\u00a0";
      return;
    }
    const { verdict, score, missing } = judge(chosen.value);
    meter.dataset.score = `${score}`;
    const text = verdict === "short" ? WORDS.short(missing) : WORDS[verdict];
    if (strength.textContent !== text) strength.textContent = text;
  }

  chosen.addEventListener("input", look);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    busy(submit, async () => {
      tell(error, "");
      current.removeAttribute("aria-invalid");
      try {
        await session.changePassword({ currentPassword: current.value, newPassword: chosen.value });
        clear();
        done("Your password is changed. Every other session has ended.");
        box("#password-title").focus();
      } catch (failure) {
        const text = explain(failure, { invalid_grant: "The current password is wrong." });
        const code = isSessionFailure(failure) ? failure.code : "";
        const wait = waitOf(failure);
        if (wait !== null) {
          countDown(error, TOO_MANY, wait, "You can try again now.");
          return;
        }
        if (code !== "refused") {
          tell(error, code === "unreachable" ? UNKNOWN : text);
          return;
        }
        const input = /current/i.test(text) ? current : chosen;
        tell(error, text);
        input.setAttribute("aria-invalid", "true");
        input.focus();
      }
    });
  });

  function clear() {
    current.value = "";
    chosen.value = "";
    tell(error, "");
    look();
  }

  return {
    enter() {
      clear();
      // Without the rules there is no judgement while typing, and the issuer's stands.
      learn().then(look, () => {});
    },
    leave: clear,
  };
}
