"""JSON as RFC 8725 wants it: one object, no duplicate members, nothing that JSON does not have."""

from __future__ import annotations

import json
from typing import Any

from .errors import Malformed

# Far above what any token of ours nests, far below what could exhaust the stack.
MAX_BRACKETS = 256


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("a JSON object with duplicate members")  # RFC 7519 section 4
    return members


def _no_constant(name: str) -> Any:
    raise Malformed(f"{name} is not JSON")  # RFC 8259 section 6


def _finite(text: str) -> float:
    value = float(text)
    if value in _INFINITIES:
        # It could be written again only as what is no JSON.
        raise Malformed("a number beyond all floats")
    return value


def _whole(text: str) -> int:
    if len(text) >= _LONG:
        _finite(text)
    return int(text)


_LONG = 309
"""Digits, above which a whole number may be beyond all floats."""
_INFINITIES = (float("inf"), float("-inf"))
_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole
)


def loads_object(raw: bytes) -> dict[str, Any]:
    """Parse exactly one JSON object.

    Raises `Malformed` for anything else: other values, duplicate members, NaN and infinities,
    invalid UTF-8, unpaired surrogates, numbers or nesting beyond reason.
    """
    if raw.count(b"{") + raw.count(b"[") > MAX_BRACKETS:
        raise Malformed("JSON nested too deeply")
    try:
        text = raw.decode("utf-8")
        value = _decoder.decode(text)
        if "\\u" in text:
            # An escape can spell half of a surrogate pair, which no later encoding survives.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except Malformed:
        raise
    except (ValueError, RecursionError):
        raise Malformed("not JSON") from None
    if type(value) is not dict:
        raise Malformed("not a JSON object")
    return value


def dumps(value: dict[str, Any]) -> str:
    """Compact JSON. Raises `ValueError` for NaN and infinities."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
