"""Cookie mode: the refresh token in a cookie that no script reads and no other site can use."""

from __future__ import annotations

from flask import Response, request

from ..errors import OAuthError
from ..settings import Settings

COOKIE = "__Host-gatepass_refresh"
"""RFC 10017: `__Host-` binds the cookie to this host, `Path=/`, and `Secure`."""

TRANSPORTS = ("cookie", "body")


def require_own_origin(settings: Settings, client_id: str | None) -> None:
    """Refuse a request that a foreign page may have sent (OWASP CSRF cheat sheet; ASVS 3.5.1).

    A browser sends `Origin` or `Sec-Fetch-Site` with every request that changes something; a
    request with neither is not from a browser, and cookie mode is for browsers. `client_id` is
    whose session it is about: another client's page gets nothing of it; None is no session of
    ours, so any listed origin may hear so. Raises 403.
    """
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    listed = settings.origins_of(client_id)
    if origin is None and site is None:
        raise _forbidden("cookie mode needs an Origin or Sec-Fetch-Site header; use transport=body")
    if origin is not None and origin not in {settings.issuer, *listed}:
        raise _forbidden("this origin may not use cookie mode")
    if request.headers.get("Sec-Fetch-Dest", "empty") != "empty":
        # A form, an image or a frame: also one that was smuggled into a page of our own.
        raise _forbidden("cookie mode is for a script's requests")
    named = origin is not None and origin in listed
    if site is not None and site != "same-origin" and not named:
        raise _forbidden("a request from another site may not use cookie mode")


def _forbidden(description: str) -> OAuthError:
    return OAuthError(403, "access_denied", description)


def refresh_cookie() -> str | None:
    """The refresh token that the browser sent, or None."""
    return sent_cookie(COOKIE)


def sent_cookie(name: str) -> str | None:
    """The `__Host-` cookie that the browser sent, or None; also if it sent two under the name.

    Read as a browser writes it (RFC 6265 section 5.4), where a quote is a character like any other:
    to a parser that knows quoted strings, a cookie that a neighbouring host planted (`a="`) would
    swallow ours. No browser sends a `__Host-` name twice, so neither of two is to be believed.
    """
    header = request.headers.get("Cookie", "")
    pairs = (pair.strip(" \t").partition("=") for pair in header.split(";"))
    found = [value for sent, _, value in pairs if sent == name]
    return found[0] or None if len(found) == 1 else None


def set_refresh_cookie(response: Response, token: str, max_age: int) -> None:
    """Hand the refresh token to the browser for `max_age` seconds."""
    response.set_cookie(
        COOKIE, token, max_age=max_age, path="/", secure=True, httponly=True, samesite="Strict"
    )


def clear_refresh_cookie(response: Response) -> None:
    """Take the cookie away: at logout only, since a lost race must not wipe a winner's cookie."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
