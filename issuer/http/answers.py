"""How answers look: grants, errors in OAuth form, and headers on everything."""

from __future__ import annotations

from typing import Any

import structlog
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from keys import KeyRingError
from revocation import RevocationError

from ..accounts import HashingBusy
from ..database import DatabaseUnavailable
from ..errors import OAuthError, factor_refused, too_many_requests, unavailable
from ..factors import FactorRefused, FactorRequired, FactorUnreadable
from ..families import FamilyUnavailable
from ..limits.errors import TooManyRequests
from ..sessions import Grant
from ..status_lists import StatusUnavailable
from .cookies import set_refresh_cookie
from .given_factor import factor_required_answer

log = structlog.get_logger("gatepass.issuer")

# What the routing layer's errors are called in OAuth form.
_NAMES = {404: "not_found", 405: "method_not_allowed"}
_TEXTS = {
    400: "the request is malformed",
    404: "there is nothing here",
    405: "this method is not allowed here",
    413: "the request is too large",
}


def grant_fields(grant: Grant, transport: str) -> dict[str, Any]:
    """What a login, refresh or change of credentials tells (RFC 6749 section 5.1)."""
    body: dict[str, Any] = {
        "access_token": grant.access_token,
        "token_type": "Bearer",
        "expires_in": grant.expires_in,
        "scope": grant.scope,
        "session": {
            "sid": grant.sid,
            "idle_expires_in": grant.idle_expires_in,
            "absolute_expires_in": grant.absolute_expires_in,
        },
    }
    if grant.elevated_expires_in is not None:
        body["session"]["elevated_expires_in"] = grant.elevated_expires_in
    if transport == "body":
        body["refresh_token"] = grant.refresh_token
    return body


def grant_answer(grant: Grant, transport: str) -> Response:
    """The answer that these make."""
    response = jsonify(grant_fields(grant, transport))
    if transport == "cookie":
        set_refresh_cookie(response, grant.refresh_token, grant.absolute_expires_in)
    return response


def error_answer(error: OAuthError) -> Response:
    response = jsonify({"error": error.error, "error_description": error.description})
    response.status_code = error.status
    for name, value in error.headers.items():
        response.headers[name] = value
    return response


def register_errors(app: Flask) -> None:
    """Every error leaves in OAuth form; a store that does not answer is 503, never 500."""

    @app.errorhandler(OAuthError)
    def refused(error: OAuthError) -> Response:
        return error_answer(error)

    @app.errorhandler(TooManyRequests)
    def limited(error: TooManyRequests) -> Response:
        return error_answer(too_many_requests(error.retry_after))

    @app.errorhandler(FactorRequired)
    def more(error: FactorRequired) -> Response:
        return factor_required_answer(error)

    @app.errorhandler(FactorRefused)
    def not_proved(_error: FactorRefused) -> Response:
        return error_answer(factor_refused())

    @app.errorhandler(HTTPException)
    def routed(error: HTTPException) -> Response:
        if isinstance(error.response, Response):
            return error.response
        status = error.code or 500
        text = _TEXTS.get(status, error.name.lower())
        answer = error_answer(OAuthError(status, _NAMES.get(status, "invalid_request"), text))
        for name, value in error.get_headers():
            if name == "Allow":
                answer.headers[name] = value
        if status == 413:
            # The rest of the body is still on its way; it must not be read as a request.
            answer.headers["Connection"] = "close"
        return answer

    @app.errorhandler(DatabaseUnavailable)
    @app.errorhandler(RevocationError)
    @app.errorhandler(FamilyUnavailable)
    @app.errorhandler(FactorUnreadable)
    @app.errorhandler(StatusUnavailable)
    @app.errorhandler(KeyRingError)
    def store_down(error: Exception) -> Response:
        log.warning("unavailable", path=request.path, error=str(error))
        return error_answer(unavailable("the service cannot answer just now; try again"))

    @app.errorhandler(HashingBusy)
    def busy(error: HashingBusy) -> Response:
        log.info("busy", path=request.path)
        return error_answer(unavailable(str(error), error.retry_after))

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        # The type alone: a message may quote what the caller sent.
        log.error("unexpected_error", path=request.path, error=type(error).__name__)
        app.logger.debug("unexpected error", exc_info=error)
        return error_answer(OAuthError(500, "server_error", "something went wrong here"))


def register_headers(app: Flask, *, https: bool) -> None:
    """Headers on every answer; whoever wants caching says so itself (RFC 6749 section 5.1)."""

    @app.after_request
    def secure(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Cache-Control", "no-store")
        headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        # For browsers that do not know `frame-ancestors` (RFC 9700 section 4.16).
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "no-referrer")
        headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if https:
            headers.setdefault("Strict-Transport-Security", "max-age=63072000")
        return response
