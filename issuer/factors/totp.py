"""Codes of authenticator apps: RFC 6238 with 30 seconds, six digits and HMAC-SHA-1.

These are the values that every such app knows, whatever an otpauth URI asks for.
"""

from __future__ import annotations

import base64
import re
import secrets

import pyotp
from pyotp.exceptions import OTPVerificationError

PERIOD = 30
"""Seconds."""
DIGITS = 6
SKEW = 1
"""Steps to either side that are accepted: the one for what is on its way (RFC 6238 section 5.2)."""
SECRET_BYTES = 20
"""160 bits, as long as the hash (RFC 4226 section 4, R6)."""

_CODE = re.compile(r"[0-9]{6}\Z")


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def spelled(secret: bytes) -> str:
    """As apps take it when it is typed: base32 without padding."""
    return base64.b32encode(secret).decode().rstrip("=")


def otpauth_uri(secret: bytes, *, username: str, name: str) -> str:
    """What apps read from a QR code."""
    return _app(secret).provisioning_uri(name=username, issuer_name=name)


def matching_step(secret: bytes, code: str, now: float) -> int | None:
    """The time step whose code this is, at most `SKEW` from now; None if it is none.

    Spaces, with which apps show codes, do not count. Compared in constant time, by pyotp.
    """
    digits = code.replace(" ", "")
    if not _CODE.match(digits):
        return None
    try:
        return _app(secret).verify_and_get_timecode(digits, for_time=now, valid_window=SKEW)
    except OTPVerificationError:
        return None


def step_at(instant: float) -> int:
    """The time step of an instant."""
    return int(instant) // PERIOD


def _app(secret: bytes) -> pyotp.TOTP:
    return pyotp.TOTP(spelled(secret), digits=DIGITS, interval=PERIOD)
