"""Who asks: each request has an id and an origin, which its log lines and events carry.

The id is answered in `X-Request-Id`, so that whoever was refused can name what to look for.
"""

from __future__ import annotations

import re
import secrets
from contextlib import ExitStack

from flask import Flask, Response, request
from structlog.contextvars import bound_contextvars

from ..audit.origin import Origin, coming_from, current_origin
from .current import client_address, context, services

HEADER = "X-Request-Id"
_WELL_FORMED = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,64}\Z")
"""Visible ASCII, without the comma, which is how a server hands on two headers (RFC 9110 5.3)."""
_WITHIN = "gatepass.within"


def identify_requests(app: Flask) -> None:
    """Give each request its id and origin; registered before whatever logs or records."""

    @app.before_request
    def begin() -> None:
        origin = Origin(
            address=client_address(), user_agent=context().user_agent, request_id=request_id()
        )
        within = ExitStack()
        within.enter_context(coming_from(origin))
        within.enter_context(bound_contextvars(request_id=origin.request_id))
        # Not in `g`, which is the application's: a request within a request has one of its own.
        request.environ[_WITHIN] = within

    @app.after_request
    def tell(response: Response) -> Response:
        response.headers[HEADER] = current_origin().request_id
        return response

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        within: ExitStack | None = request.environ.pop(_WITHIN, None)
        if within is not None:
            within.close()


def request_id() -> str:
    """A trusted proxy's if it is well formed, or one of our own: 128 random bits, base64url.

    Anybody else could give a thousand requests one id, or another person's (ASVS 16.4.1).
    """
    given = request.headers.get(HEADER, "")
    if services().settings.trusted_proxies > 0 and _WELL_FORMED.match(given):
        return given
    return secrets.token_urlsafe(16)
