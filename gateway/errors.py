"""Why a gateway cannot decide, and how each refusal is worded in HTTP (RFC 6750 section 3)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from revocation import RevocationError, TokenRevoked
from tokens import TokenError


class GatewayError(Exception):
    """The root of this package's errors; `code` is stable."""

    code: ClassVar[str] = "gateway_error"


class KeysUnavailable(GatewayError):
    """No copy of the issuer's keys that is young enough to be trusted."""

    code = "keys_unavailable"


class TokenRequired(GatewayError):
    """The request carries no bearer token."""

    code = "token_required"


Refusable = (TokenError, RevocationError, GatewayError)
"""Everything that `Verifier.verify` raises."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer that refuses a request."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def refusal_of(error: Exception) -> Refusal:
    """The answer to a request whose token raised `error`, one of `Refusable`.

    401 for whatever is wrong with the token, without telling which; 503 where nothing can be
    told because the replica or the keys are too old (fail closed, and say so).
    """
    if isinstance(error, TokenRequired):
        challenge = "Bearer"
        status, name, text = "401 Unauthorized", "invalid_token", "a bearer token is required"
    elif isinstance(error, TokenError | TokenRevoked):
        text = "the token has been revoked" if isinstance(error, TokenRevoked) else "invalid token"
        challenge = f'Bearer error="invalid_token", error_description="{text}"'
        status, name = "401 Unauthorized", "invalid_token"
    else:
        body = _body("temporarily_unavailable", "revocation cannot be checked just now")
        return Refusal("503 Service Unavailable", (*_HEADERS, ("Retry-After", "1")), body)
    return Refusal(status, (*_HEADERS, ("WWW-Authenticate", challenge)), _body(name, text))


_HEADERS = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))


def _body(error: str, description: str) -> bytes:
    return json.dumps({"error": error, "error_description": description}).encode() + b"\n"
