// Has the browser answer with a passkey, and sends that with the form around the button.
const button = document.querySelector("#use-passkey");
const form = button.form;
const said = document.querySelector("#passkey-said");

// The older of the browsers that know passkeys cannot read options as JSON.
button.hidden = !globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON;
button.addEventListener("click", async () => {
  if (!form.reportValidity()) return;
  try {
    const options = JSON.parse(button.dataset.options);
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
    const found = await navigator.credentials.get({ publicKey });
    form.elements.passkey.value = JSON.stringify(found.toJSON());
    form.requestSubmit();
  } catch {
    said.textContent = "The passkey was not used. Try again, or give a code.";
  }
});
