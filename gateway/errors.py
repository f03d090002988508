"""Why a gateway cannot decide, and how each refusal is worded in HTTP (RFC 6750 section 3)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from revocation import RevocationError, TokenRevoked
from tokens import Expired, TokenError


class GatewayError(Exception):
    """The root of this package's errors; `code` is stable."""

    code: ClassVar[str] = "gateway_error"


class KeysUnavailable(GatewayError):
    """No copy of the issuer's keys that is young enough to be trusted."""

    code = "keys_unavailable"


class TokenRequired(GatewayError):
    """The request carries no bearer token."""

    code = "token_required"


class RequestRefused(GatewayError):
    """The request is not one that can be answered: it carries two credentials, say."""

    code = "invalid_request"


class InsufficientScope(GatewayError):
    """The token is valid and does not allow this: a scope or a role is missing.

    `scopes` are all that are needed, to be told to the client.
    """

    code = "insufficient_scope"

    def __init__(self, scopes: frozenset[str]) -> None:
        super().__init__("the token does not allow this")
        self.scopes = scopes


class InsufficientAuthentication(GatewayError):
    """The token is valid, and its person has to authenticate better, or again (RFC 9470).

    `acr` is the level that is needed, `max_age` how many seconds ago at the most; either may be
    empty or None. `scopes` are all that the route needs, so that one elevation is enough.
    """

    code = "insufficient_user_authentication"

    def __init__(self, acr: str, max_age: int | None, scopes: frozenset[str]) -> None:
        super().__init__("a better or more recent authentication is required")
        self.acr = acr
        self.max_age = max_age
        self.scopes = scopes


Refusable = (TokenError, RevocationError, GatewayError)
"""Everything that verifying a request raises."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer that refuses a request."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def refusal_of(error: Exception) -> Refusal:
    """The answer to a request whose token raised `error`, one of `Refusable`.

    401 for whatever is wrong with the token, with one word for all of it but two: that it has
    expired, so that the client refreshes it, and that it has been revoked. 401 too, with what is
    asked for, where the person has to authenticate better or again (RFC 9470 section 3). 403 where
    the token does not reach, 400 for two credentials (RFC 6750 section 3.1); 503 where nothing can
    be told because the replica or the keys are too old (fail closed, and say so).
    """
    if isinstance(error, TokenRequired):
        # RFC 6750 section 3: without credentials no error code in the challenge.
        told = "a bearer token is required"
        return refused("401 Unauthorized", "invalid_token", told, ("WWW-Authenticate", "Bearer"))
    if isinstance(error, TokenError | TokenRevoked):
        text = _TEXTS.get(type(error), "invalid token")
        return _challenge("401 Unauthorized", "invalid_token", text)
    if isinstance(error, RequestRefused):
        return _challenge("400 Bad Request", "invalid_request", str(error))
    if isinstance(error, InsufficientScope):
        return _challenge(
            "403 Forbidden", "insufficient_scope", str(error), scope=_words(error.scopes)
        )
    if isinstance(error, InsufficientAuthentication):
        max_age = "" if error.max_age is None else str(error.max_age)
        needed = {"acr_values": error.acr, "max_age": max_age, "scope": _words(error.scopes)}
        return _challenge("401 Unauthorized", error.code, str(error), **needed)
    told = "revocation cannot be checked just now"
    return refused("503 Service Unavailable", "temporarily_unavailable", told, ("Retry-After", "1"))


def refused(status: str, error: str, text: str, *headers: tuple[str, str]) -> Refusal:
    """The answer with this error in OAuth's form (RFC 6749 section 5.2)."""
    body = json.dumps({"error": error, "error_description": text}).encode() + b"\n"
    return Refusal(
        status,
        (("Content-Type", "application/json"), ("Cache-Control", "no-store"), *headers),
        body,
    )


_TEXTS: dict[type[Exception], str] = {
    TokenRevoked: "the token has been revoked",
    Expired: "the token has expired",
}


def _words(scopes: frozenset[str]) -> str:
    return " ".join(sorted(scopes))


def _challenge(status: str, error: str, text: str, **needed: str) -> Refusal:
    # RFC 6749 section 3.3 leaves no character in a scope that would end the quotes.
    parameters = "".join(f', {name}="{value}"' for name, value in needed.items() if value)
    challenge = f'Bearer error="{error}", error_description="{text}"{parameters}'
    return refused(status, error, text, ("WWW-Authenticate", challenge))
