"""Second factors of people at the demo's pages: enrolled beside the pages, used in them."""

from __future__ import annotations

import time

import pyotp
from harness.browser import PASSWORD, Visitor
from harness.web import ask
from playwright.sync_api import Page

_REGISTER = """async ([token, password]) => {
  const call = async (path, body) => {
    const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
    const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    return response.json();
  };
  const asked = await call("/factors/webauthn/options", { current_password: password });
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(asked.webauthn);
  const made = await navigator.credentials.create({ publicKey });
  return call("/factors/webauthn/register", { webauthn: made.toJSON(), transport: "body" });
}"""


def _login(visitor: Visitor) -> str:
    site = visitor.world.demo.site
    granted = site.login(visitor.person.username, PASSWORD).granted()
    return str(granted["access_token"])


def with_app(visitor: Visitor) -> pyotp.TOTP:
    """An authenticator app of the person; the code of its present step is not spent."""
    url, token = visitor.world.demo.site.base_url, _login(visitor)
    begun = ask("POST", f"{url}/factors/totp", json_body={}, token=token).json
    app = pyotp.TOTP(begun["secret"])
    code = app.at(int(time.time()), counter_offset=-1)
    confirm = {"id": begun["id"], "otp": code, "transport": "body"}
    done = ask("POST", f"{url}/factors/totp/confirm", json_body=confirm, token=token)
    assert done.status == 200, done.content
    return app


class VirtualAuthenticator:
    """Chromium's own, for one page: it verifies whoever asks."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._session.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = self._session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        self._id = made["authenticatorId"]

    def verifies(self, *, anybody: bool) -> None:
        """Whether it takes whoever is there for its owner."""
        given = {"authenticatorId": self._id, "isUserVerified": anybody}
        self._session.send("WebAuthn.setUserVerified", given)


def with_passkey(visitor: Visitor, page: Page) -> None:
    """A passkey of the person, made by the page's authenticator."""
    told = page.evaluate(_REGISTER, [_login(visitor), PASSWORD])
    assert told["factor"]["kind"] == "webauthn", told
