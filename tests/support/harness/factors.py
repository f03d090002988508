"""Second factors of the person of `harness.issuer_app`: enrolled over HTTP, used from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyotp
from harness.authenticator import Authenticator
from harness.issuer_app import OTHER_ORIGIN, PASSWORD, RP_ID, IssuerApp, bearer, granted
from werkzeug.test import TestResponse

PERIOD = 30


@dataclass
class App:
    """An authenticator app with one secret, and the session that enrolled it."""

    issuer: IssuerApp
    id: str
    totp: pyotp.TOTP
    grant: dict[str, Any]

    def code(self, steps: int = 0) -> str:
        """The code of now, or of some steps away."""
        return self.totp.at(self.issuer.clock(), counter_offset=steps)

    def next_code(self) -> str:
        """The code of the next step, once it is the present one: it has surely not been used."""
        self.issuer.clock.advance(PERIOD)
        return self.code()


def ask(issuer: IssuerApp, path: str, grant: dict[str, Any], **fields: Any) -> TestResponse:
    """POST to `/factors…` with a session's access token."""
    return issuer.post(f"/factors{path}", fields, headers=bearer(grant["access_token"]))


def enrol_app(
    issuer: IssuerApp, grant: dict[str, Any] | None = None, *, label: str = "", keep: bool = False
) -> App:
    """An authenticator app, confirmed; without `grant` after a login.

    Its session is the one that the answer gives, or with `keep` the one that enrolled it.
    """
    held = grant or issuer.grant()
    begun = granted(ask(issuer, "/totp", held, current_password=PASSWORD, label=label or None))
    app = App(issuer, begun["id"], pyotp.TOTP(begun["secret"]), held)
    given = {"id": begun["id"], "otp": app.code(), "end_other_sessions": not keep}
    done = granted(ask(issuer, "/totp/confirm", held, **given))
    if keep:
        assert done.keys() == {"factor"}
    else:
        app.grant = done
    return app


def authenticator(**changes: Any) -> Authenticator:
    """A passkey that belongs to a page of this issuer."""
    return Authenticator(OTHER_ORIGIN, RP_ID, **changes)


def begin_passkey(issuer: IssuerApp, grant: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Registration options."""
    given = {"current_password": PASSWORD, **fields}
    options: dict[str, Any] = granted(ask(issuer, "/webauthn/options", grant, **given))["webauthn"]
    return options


def enrol_passkey(
    issuer: IssuerApp, device: Authenticator, grant: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """A passkey, registered; the answer."""
    held = grant or issuer.grant()
    made = device.create(begin_passkey(issuer, held, **fields))
    return granted(ask(issuer, "/webauthn/register", held, webauthn=made, label="key"))


def challenged(answer: TestResponse) -> dict[str, Any]:
    """The assertion options of an answer that asks for a factor."""
    body = answer.get_json()
    assert (answer.status_code, body["error"]) == (401, "factor_required"), body
    options: dict[str, Any] = body["webauthn"]
    return options
