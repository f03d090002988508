"""Reads request bodies strictly: one JSON object, or one form, within its size."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from flask import request

from tokens import Malformed
from tokens.strict_json import loads_object

from ..errors import OAuthError, invalid_request

MAX_BODY = 16_384
"""Bytes; far above any honest request (ASVS 4.3.1 asks for a limit)."""

MOST_FIELDS = 16
LONGEST_TEXT = 8192
LONGEST_SECONDS = 1_000_000_000
_UNSUPPORTED = 415
# `parse_qsl` would take such a percent sign for itself.
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def refuse_ambiguous_framing() -> None:
    """Refuse a request whose end or whose target is a matter of opinion, before reading it.

    A chunked body would be cut at the limit rather than refused, and may be the tail of a
    smuggled request (RFC 9112 sections 6.1, 3.2). Raises `OAuthError` 411 or 400.
    """
    if "Transfer-Encoding" in request.headers:
        raise OAuthError(411, "invalid_request", "give the body's length", {"Connection": "close"})
    if not request.headers.get("Host"):
        raise invalid_request("a Host header is required")


def _raw() -> bytes:
    # Raises 413 above the application's MAX_CONTENT_LENGTH.
    return request.get_data()


def _require_type(mimetype: str) -> None:
    if request.mimetype != mimetype:
        raise invalid_request(f"the content type must be {mimetype}", _UNSUPPORTED)


def read_json(*, optional: bool = False) -> Fields:
    """The request's JSON object. With `optional` an absent body is an empty object.

    Raises `OAuthError` 400, 413 or 415.
    """
    if optional and not _raw():
        return Fields({})
    return Fields(raw_json()[1])


def raw_json() -> tuple[bytes, dict[str, Any]]:
    """The request's JSON object, and the bytes that it was made of.

    Raises `OAuthError` 400, 413 or 415.
    """
    raw = _raw()
    _require_type("application/json")
    try:
        return raw, loads_object(raw)
    except Malformed as error:
        raise invalid_request(f"the body is not acceptable JSON: {error}") from None


def read_form() -> Fields:
    """The request's form, each field once (RFC 6749 section 3.2).

    Raises `OAuthError` 400, 413 or 415.
    """
    raw = _raw()
    _require_type("application/x-www-form-urlencoded")
    if _BROKEN_ESCAPE.search(raw):
        raise invalid_request("the body is not an acceptable form")
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(raw),
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise invalid_request("the body is not an acceptable form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise invalid_request("a form field is given more than once")
    return Fields(fields)


class Fields:
    """Named values of a request, each taken with its type and its limits."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """Whether it is given; null says as much as leaving it out."""
        return self._values.get(name) is not None

    def given(self) -> dict[str, str]:
        """The strings that are not empty: of a form, what somebody filled in."""
        return {name: text for name, text in self._values.items() if isinstance(text, str) and text}

    def text(self, name: str, *, longest: int = LONGEST_TEXT) -> str:
        """A non-empty string. Raises `OAuthError` 400 naming the field, never its value."""
        if self._values.get(name) is None:
            raise invalid_request(f"{name} is missing")
        value = self._values[name]
        if not isinstance(value, str) or not value:
            raise invalid_request(f"{name} must be a non-empty string")
        if len(value) > longest:
            raise invalid_request(f"{name} is longer than {longest} characters")
        return value

    def line(self, name: str, *, longest: int) -> str:
        """A string without control characters."""
        value = self.text(name, longest=longest)
        if any(unicodedata.category(character) == "Cc" for character in value):
            raise invalid_request(f"{name} may not hold control characters")
        return value

    def optional_text(self, name: str) -> str | None:
        return None if self._values.get(name) is None else self.text(name)

    def optional_line(self, name: str, *, longest: int) -> str | None:
        return None if self._values.get(name) is None else self.line(name, longest=longest)

    def optional_object(self, name: str) -> dict[str, Any] | None:
        """A JSON object, whatever its members are."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, dict):
            raise invalid_request(f"{name} must be an object")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise invalid_request(f"{name} must be true or false")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str | None:
        """One of the choices, or None if it is not given."""
        value = self._values.get(name)
        if value is None:
            return None
        if value not in choices or not isinstance(value, str):
            raise invalid_request(f"{name} must be one of {', '.join(choices)}")
        return value

    def optional_seconds(self, name: str) -> float | None:
        """A number of seconds, zero or more."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid_request(f"{name} must be a number of seconds")
        # Compared as it is: a whole number of 400 digits cannot become a float.
        if not 0 <= value <= LONGEST_SECONDS:
            raise invalid_request(f"{name} must be a number of seconds, zero or more")
        return float(value)
