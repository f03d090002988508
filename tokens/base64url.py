"""Canonical base64url (RFC 7515 section 2, RFC 4648 section 5)."""

from __future__ import annotations

import binascii

from .errors import Malformed

# `+`, `/` and `=` become a byte that strict decoding refuses.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", None, b"==", b"=")
# RFC 4648 section 3.5: the bits left over in the last character must be zero, else one value
# would have several spellings.
_CANONICAL_LAST = (None, None, frozenset(b"AQgw"), frozenset(b"AEIMQUYcgkosw048"))


def decode(text: bytes) -> bytes:
    """Decode unpadded base64url, accepting only the one canonical spelling.

    Raises `Malformed` for padding, white space, foreign characters or non-zero unused bits.
    """
    remainder = len(text) % 4
    padding = _PADDING[remainder]
    if padding is None:
        raise Malformed("base64url of an impossible length")
    last = _CANONICAL_LAST[remainder]
    if last is not None and text[-1] not in last:
        raise Malformed("base64url with unused bits that are not zero")
    try:
        return binascii.a2b_base64(text.translate(_TO_STANDARD) + padding, strict_mode=True)
    except binascii.Error:
        raise Malformed("not canonical base64url") from None


def encode(data: bytes) -> str:
    """Encode as base64url without padding."""
    standard = binascii.b2a_base64(data, newline=False).rstrip(b"=")
    return standard.translate(bytes.maketrans(b"+/", b"-_")).decode("ascii")
