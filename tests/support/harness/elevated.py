"""People who prove more, and a gateway that asks for it."""

from __future__ import annotations

from typing import Any

from harness.issuer_app import ISSUER, PASSWORD, IssuerApp, bearer, granted
from harness.local_issuer import freshen
from werkzeug.test import TestResponse

from gateway import Verifier
from gateway.fetching import Fetched
from gateway.guard import Guard
from issuer.sessions.grant import Context
from issuer.sessions.login import start_session
from tokens import AccessClaims

HARDWARE = ("pwd", "hwk", "user", "mfa")


def elevate(issuer: IssuerApp, access_token: str, **fields: Any) -> TestResponse:
    """Ask for an elevation, in body mode."""
    body = {"current_password": PASSWORD, "transport": "body", **fields}
    return issuer.post("/elevate", body, headers=bearer(access_token))


def start(issuer: IssuerApp, *amr: str, client_id: str = "demo") -> dict[str, str]:
    """Tokens of a session that began with these methods, whatever the login offers."""
    account = issuer.services.accounts.by_id(issuer.account.id)
    assert account is not None
    begun = start_session(
        issuer.services,
        account,
        client_id=client_id,
        instant=issuer.clock(),
        context=Context(user_agent="Werkzeug/3"),
        amr=amr,
        why="login",
    )
    return {"access_token": begun.access_token, "refresh_token": begun.refresh_token}


class Watching:
    """A gateway's verifier on the issuer's keys and its denylist."""

    def __init__(self, issuer: IssuerApp) -> None:
        self._issuer = issuer
        self._verifier = Verifier(
            issuer=ISSUER,
            audience="api",
            denylist=issuer.services.denylist,
            fetch=self._fetch,
            clock=issuer.clock,
            max_staleness=600,
        )

    def _fetch(self, url: str) -> Fetched:
        answer = self._issuer.ask("GET", url.removeprefix(ISSUER))
        return Fetched(granted(answer), 60)

    def admit(self, access_token: str, **rule: Any) -> AccessClaims:
        """As `Guard.admit`, once the denylist's news have come."""
        freshen(self._issuer.services.denylist, self._verifier.replica)
        return Guard(self._verifier, **rule).admit(f"Bearer {access_token}")
