"""A WSGI middleware: nothing behind it sees a request without a valid token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from revocation import StalePolicy

from .errors import Refusable, refusal_of
from .guard import Guard
from .verifier import Verifier

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CLAIMS = "gatepass.claims"
"""Where the application finds the claims: in its environment, which no client can write to."""


class WsgiGuard:
    """Wraps an application, or one that is mounted in another, each with a rule of its own.

    A CORS middleware goes around it: a preflight has no token, and pages have to read refusals.
    """

    def __init__(
        self,
        application: WSGIApplication,
        verifier: Verifier,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        acr: str = "",
        max_age: int | None = None,
        policy: StalePolicy | None = None,
    ) -> None:
        """As for `Guard`."""
        self._application = application
        self._guard = Guard(
            verifier, scopes=scopes, roles=roles, acr=acr, max_age=max_age, policy=policy
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            # A server joins repeated headers, or keeps one: what is joined is refused.
            environ[CLAIMS] = self._guard.admit(environ.get("HTTP_AUTHORIZATION"))
        except Refusable as error:
            refusal = refusal_of(error)
            length = ("Content-Length", str(len(refusal.body)))
            start_response(refusal.status, [*refusal.headers, length])
            return [refusal.body]
        return self._application(environ, start_response)
