"""An example of a protected API: plain WSGI, and nothing but the verifier.

verifier = Verifier(issuer="https://id.example", audience="api", denylist="redis://...")
verifier.start()
application = example_api(verifier)
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .errors import Refusable, refusal_of
from .verifier import Verifier

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def example_api(verifier: Verifier) -> WSGIApplication:
    """Answers every request that carries a valid token with what the token says."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            claims = verifier.verify_header(environ.get("HTTP_AUTHORIZATION"))
        except Refusable as error:
            refusal = refusal_of(error)
            start_response(refusal.status, list(refusal.headers))
            return [refusal.body]
        body = {
            "message": "the token is valid and has not been revoked",
            "sub": claims.sub,
            "sid": claims.sid,
            "scope": claims.scope,
            "roles": list(claims.roles),
            "expires": claims.exp,
            "replica_staleness": round(verifier.replica.staleness(), 3),
        }
        start_response(
            "200 OK", [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        )
        return [json.dumps(body).encode() + b"\n"]

    return application
