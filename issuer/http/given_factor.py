"""Reads from a body what is given for a second factor, and words what is missing."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from ..errors import insufficient_authentication, invalid_request
from ..factors import FactorRequired, GivenFactor
from .body import Fields

LONGEST_CODE = 64

FACTOR_FIELDS = ("otp", "recovery_code", "webauthn")


def given_factor(fields: Fields) -> GivenFactor:
    """What a request gives beside the password. Raises `OAuthError` 400 for more than one."""
    given = GivenFactor(
        otp=fields.optional_line("otp", longest=LONGEST_CODE),
        recovery_code=fields.optional_line("recovery_code", longest=LONGEST_CODE),
        webauthn=fields.optional_object("webauthn"),
    )
    if sum(one is not None for one in (given.otp, given.recovery_code, given.webauthn)) > 1:
        raise invalid_request("give one of otp, recovery_code and webauthn")
    return given


def factor_required_answer(error: FactorRequired) -> Response:
    """401 with what would do, and with what a browser needs to use a passkey."""
    refusal = insufficient_authentication("a second factor is required", error=FactorRequired.code)
    body: dict[str, Any] = {
        "error": refusal.error,
        "error_description": refusal.description,
        "factors": list(error.factors),
    }
    if error.webauthn is not None:
        body["webauthn"] = dict(error.webauthn)
    response = jsonify(body)
    response.status_code = refusal.status
    for name, value in refusal.headers.items():
        response.headers[name] = value
    return response
