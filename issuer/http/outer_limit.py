"""The outer net: requests of one address that bring a secret, whatever becomes of them."""

from __future__ import annotations

from typing import cast

from flask import Flask, Response, request
from flask_limiter import Limiter, RequestLimit

from ..errors import too_many_requests
from ..limits.storage import SharedStorage
from ..limits.windows import seconds_until
from ..networks import host_of
from .answers import error_answer, log
from .current import client_address, services

ENDPOINTS = frozenset(
    {
        "auth.login",
        "auth.elevate",
        "auth.password",
        "auth.forgot",
        "auth.reset",
        "console.sign_in",
        "factors.begin_totp",
        "factors.confirm_totp",
        "factors.begin_passkey",
        "factors.register_passkey",
        "factors.remove",
        "factors.renew_codes",
    }
)
"""Not the logout: a person can always end a session. Not the refresh, which has limits of its own
and should cost no more; nor what only a client's secret opens."""


def limit_requests(app: Flask) -> None:
    """Have Flask-Limiter count the requests of each address, on the storage of all limits."""
    with app.app_context():
        parts = services()
    text = parts.settings.limits.requests
    if not text.strip():
        return
    limiter = Limiter(
        _key,
        application_limits=[text],
        application_limits_exempt_when=_is_free,
        storage_uri=f"{SharedStorage.STORAGE_SCHEME[0]}://",
        # It makes a storage of its own, whose counts are in the same place.
        storage_options=cast("dict[str, str | int]", {"shared": parts.limits.storage.shared}),
        on_breach=_refuse,
        key_prefix="requests",
    )
    limiter.init_app(app)


def _is_free() -> bool:
    return request.endpoint not in ENDPOINTS or not host_of(client_address())


def _key() -> str:
    return services().limits.digests.of("requests", host_of(client_address()))


def _refuse(limit: RequestLimit) -> Response:
    retry_after = seconds_until(limit.window.reset_time)
    log.warning("requests_limited", path=request.path, retry_after=retry_after)
    return error_answer(too_many_requests(retry_after))
