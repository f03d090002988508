"""Refusals as the HTTP interface words them (RFC 6749 section 5.2, RFC 6750 section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class OAuthError(Exception):
    """An answer in OAuth form; `description` is for the caller and holds no secret."""

    def __init__(
        self,
        status: int,
        error: str,
        description: str,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        super().__init__(f"{error}: {description}")
        self.status = status
        self.error = error
        self.description = description
        self.headers = headers


def invalid_request(description: str, status: int = 400) -> OAuthError:
    return OAuthError(status, "invalid_request", description)


def invalid_grant(description: str) -> OAuthError:
    """Wrong credentials or a refresh token that is worth nothing: 400 by RFC 6749 section 5.2."""
    return OAuthError(400, "invalid_grant", description)


def factor_refused() -> OAuthError:
    """A second factor that is wrong or spent, once the password was right; nobody is told which."""
    return OAuthError(400, "factor_refused", "the second factor is wrong or was used already")


def insufficient_authentication(
    description: str, *, max_age: int | None = None, error: str = ""
) -> OAuthError:
    """Who calls must prove more, or once more (RFC 9470 section 3)."""
    challenge = (
        f'Bearer error="insufficient_user_authentication", error_description="{description}"'
    )
    if max_age is not None:
        challenge += f', max_age="{max_age}"'
    code = error or "insufficient_user_authentication"
    return OAuthError(401, code, description, {"WWW-Authenticate": challenge})


def too_weak(description: str) -> OAuthError:
    """What was proved is not enough here, and nothing was begun."""
    return OAuthError(403, "insufficient_user_authentication", description)


def invalid_token(description: str) -> OAuthError:
    challenge = f'Bearer error="invalid_token", error_description="{description}"'
    return OAuthError(401, "invalid_token", description, {"WWW-Authenticate": challenge})


def token_required() -> OAuthError:
    """No token at all gets a challenge without an error code (RFC 6750 section 3.1)."""
    return OAuthError(
        401, "invalid_token", "a bearer token is required", {"WWW-Authenticate": "Bearer"}
    )


def invalid_client(description: str) -> OAuthError:
    challenge = {"WWW-Authenticate": 'Basic realm="gatepass", charset="UTF-8"'}
    return OAuthError(401, "invalid_client", description, challenge)


def too_many_requests(retry_after: int) -> OAuthError:
    """RFC 6585 section 4. The same for every limit: which one it was is nobody's business."""
    return OAuthError(
        429,
        "too_many_requests",
        "too many attempts; wait, then try again",
        {"Retry-After": str(retry_after)},
    )


def unavailable(description: str, retry_after: int = 1) -> OAuthError:
    return OAuthError(
        503, "temporarily_unavailable", description, {"Retry-After": str(retry_after)}
    )
