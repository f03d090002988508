"""Who may ask for what: in front of every page of the console, whichever it is.

A route is closed unless it is named here. Viewing needs a session; changing something needs a form
of that session, sent by a page of ours, and a password that was given minutes ago.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import cast

from flask import Flask, Response, current_app, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from ..audit import coming_from, current_origin
from ..errors import OAuthError
from ..factors import FactorRequired
from ..http.body import read_form
from ..http.cookies import sent_cookie
from ..http.current import client_address, context, services
from ..services import Services
from .second_step import given_factor
from .session import Administrator, ConsoleSessions

COOKIE = "__Host-gatepass_console"

OPEN = frozenset({"console.static", "console.sign_in", "console.sign_in_form"})
"""What anybody may ask for."""
IN_THE_BACKGROUND = frozenset({"console.live"})
"""What a page fetches by itself: no activity."""
ANY_TIME = frozenset({"console.sign_out"})
"""What may be done however long ago the password was given."""

_EXTENSION = "gatepass-console"
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110 section 9.2.1)."""
_TOKEN, _PASSWORD = "form", "password"
_PROOF = frozenset({_TOKEN, _PASSWORD, "code", "passkey"})
FACTOR_WANTED = "this account has a second factor: give the password once more, and that with it"

HEADERS = {
    # ASVS 3.4.3: no inline script or style, nothing foreign.
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "style-src 'self'",
            "script-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # Not `no-referrer`, under which a browser names no origin with a form (Fetch, "Origin" header).
    "Referrer-Policy": "same-origin",
}


def attach(app: Flask, parts: Services) -> None:
    """Give an application the console's sessions."""
    app.extensions[_EXTENSION] = ConsoleSessions(parts)


def sessions() -> ConsoleSessions:
    return cast("ConsoleSessions", current_app.extensions[_EXTENSION])


def administrator() -> Administrator:
    """Who asks; only behind `require_administrator`."""
    return cast("Administrator", g.administrator)


def require_administrator() -> AnyResponse | str | tuple[str, int] | None:
    """Before every request to the console: None where it may go on. Raises `OAuthError`."""
    changes = request.method not in _HARMLESS
    if changes:
        require_own_page()
    if request.endpoint in OPEN:
        return None
    in_background = request.endpoint in IN_THE_BACKGROUND
    cookie = sent_cookie(COOKIE)
    admin = None if cookie is None else sessions().current(cookie, active=not in_background)
    if admin is None:
        if in_background:
            raise OAuthError(403, "signed_out", "the session has ended; sign in again")
        return redirect(url_for("console.sign_in_form", next=_way_back()), 303)
    _go_on_as(admin)
    if not changes:
        return None
    given = read_form().given()
    if not sessions().is_form_of(admin, given.get(_TOKEN, "")):
        raise OAuthError(403, "access_denied", "the form is not of this session; open it again")
    if request.endpoint in ANY_TIME or sessions().is_fresh(admin):
        return None
    return _ask_again(admin, given)


def keep(admin: Administrator) -> None:
    """Have the browser keep the session's cookie."""
    g.console_cookie = admin.cookie


def forget() -> None:
    """Have it throw the cookie away."""
    g.console_cookie = ""


def _go_on_as(admin: Administrator) -> None:
    g.administrator = admin
    if admin.cookie is not None:
        keep(admin)
    within = g.setdefault("console_within", ExitStack())
    origin = replace(current_origin(), actor=f"console:{admin.account.id}")
    within.enter_context(coming_from(origin))


def _ask_again(admin: Administrator, given: Mapping[str, str]) -> tuple[str, int] | None:
    """The password first, then what was asked for goes on (RFC 9470's idea; ASVS 7.5.3)."""
    password, problem, wanted = given.get(_PASSWORD), None, None
    if password is not None:
        factor = given_factor(given)
        try:
            _go_on_as(sessions().prove_again(admin, password, factor, context(), client_address()))
        except OAuthError as error:
            problem = error.description
        except FactorRequired as error:
            problem, wanted = FACTOR_WANTED, error
        else:
            return None
    kept = {name: value for name, value in given.items() if name not in _PROOF}
    page = render_template("console/confirm.html", kept=kept, problem=problem, wanted=wanted)
    return page, 403


def require_own_page() -> None:
    """Refuse a form that another page may have sent (OWASP CSRF cheat sheet; ASVS 3.5.1).

    Raises 403. Unlike in cookie mode no other origin may be listed.
    """
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    if origin is None and site is None:
        raise OAuthError(403, "access_denied", "the request does not say which page sent it")
    if origin not in {None, services().settings.issuer} or site not in {None, "same-origin"}:
        raise OAuthError(403, "access_denied", "another site's page may not do this")


def _way_back() -> str:
    return request.full_path.rstrip("?") if request.method == "GET" else url_for("console.overview")


def finish(response: Response) -> Response:
    """After every request to the console: headers, and the cookie where it changed."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    cookie: str | None = g.get("console_cookie")
    if cookie == "":
        response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
    elif cookie is not None:
        # Without a time: it ends with the browser, if no session's end comes before.
        response.set_cookie(COOKIE, cookie, path="/", secure=True, httponly=True, samesite="Strict")
    return response


def leave(_error: BaseException | None) -> None:
    """At the end of every request to the console."""
    within: ExitStack | None = g.pop("console_within", None)
    if within is not None:
        within.close()
