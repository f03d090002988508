/** The second step of signing in: a code that is typed, or a passkey. */

import { box, button, part } from "./dom.js";

const CODE = /^[\d ]{6,}$/;

/** @param {() => void} usePasskey */
export function secondStep(usePasskey) {
  const group = box("#factor");
  const code = part("#code", HTMLInputElement);
  const passkey = button("#passkey");
  /** @type {object | null} */
  let options = null;

  passkey.addEventListener("click", usePasskey);

  return {
    passkey,
    get shown() {
      return !group.hidden;
    },
    /**
     * Ask for it.
     *
     * @param {import("../types/index.js").Refused} wanted
     */
    ask({ factors, webauthn }) {
      options = webauthn;
      group.hidden = false;
      code.value = "";
      code.required = true;
      // The older of the browsers that know passkeys cannot read options as JSON.
      passkey.hidden = !(factors.includes("webauthn") && globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON);
      code.focus();
    },
    /** It is another person, or nobody any more. */
    forget() {
      options = null;
      group.hidden = true;
      code.required = false;
      code.value = "";
    },
    /** What was typed: digits are an app's, anything else is from the list. */
    typed() {
      if (group.hidden) return {};
      const text = code.value.trim();
      return CODE.test(text) ? { otp: text } : { recoveryCode: text };
    },
    again() {
      code.focus();
      code.select();
    },
    /** Have the browser ask for a passkey. Rejects with `DOMException`, or if there is no challenge. */
    async answer() {
      if (options === null) throw new DOMException("ask again", "InvalidStateError");
      const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(/** @type {any} */ (options));
      options = null; // good for one answer
      const found = await navigator.credentials.get({ publicKey });
      return { webauthn: /** @type {PublicKeyCredential} */ (found).toJSON() };
    },
    get ready() {
      return options !== null;
    },
  };
}
