"""The strict compact JWS form (RFC 7515 section 7.1): its parts, its header, what is signed."""

from __future__ import annotations

from typing import Any

from keys import SIGNING_ALGORITHMS

from . import base64url, strict_json
from .errors import AlgorithmRefused, HeaderRefused, Malformed, TooLarge
from .verification_key import VerificationKey

# Caps in characters, checked before any decoding (RFC 8725 section 2.5 names the cost of parsing).
MAX_TOKEN = 8192
MAX_HEADER = 1024
MAX_SIGNATURE = 700  # RSA-4096 takes 683

# Members that would let a token choose its own key or its own rules (RFC 8725 sections 3.10, 3.1),
# and `crit`, whose every extension is unknown to us (RFC 7515 section 4.1.11).
REFUSED_HEADERS = frozenset({"crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "epk", "p2c"})


def split(token: str, parts: int, limit: int = MAX_TOKEN) -> list[bytes]:
    """Split a compact serialization into its `parts` segments, as ASCII bytes.

    Raises `TooLarge` above `limit` characters, `Malformed` for any other number of segments.
    """
    text = to_ascii(token)
    if len(text) > limit:
        raise TooLarge("the token", len(text), limit)
    segments = text.split(b".", parts)
    if len(segments) != parts:
        raise Malformed(f"a compact token of this kind has {parts} parts")
    return segments


def to_ascii(token: str) -> bytes:
    """A compact serialization as bytes. Raises `Malformed`."""
    try:
        return str.encode(token, "ascii")
    except TypeError:
        raise Malformed("a token is text") from None
    except UnicodeEncodeError:
        raise Malformed("a compact token is ASCII") from None


def split_jws(token: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """What the signature is over, and the three segments: header, payload, signature.

    Raises `TooLarge` above `MAX_TOKEN` bytes, `Malformed` for any other number of segments.
    """
    if len(token) > MAX_TOKEN:
        raise TooLarge("the token", len(token), MAX_TOKEN)
    if token.count(b".") != 2:
        raise Malformed("a compact token of this kind has 3 parts")
    signed, _, signature = token.rpartition(b".")
    header, _, payload = signed.partition(b".")
    return signed, header, payload, signature


def parse_header(segment: bytes) -> dict[str, Any]:
    """Decode a JOSE header, refusing what could steer the verifier.

    Raises `TooLarge`, `Malformed`, `HeaderRefused`, or `AlgorithmRefused` without a text `alg`.
    """
    if len(segment) > MAX_HEADER:
        raise TooLarge("the header", len(segment), MAX_HEADER)
    header = strict_json.loads_object(base64url.decode(segment))
    refused = REFUSED_HEADERS.intersection(header)
    if refused:
        raise HeaderRefused(f"header member {min(refused)!r} is refused")
    return header


def signing_algorithm(header: dict[str, Any]) -> str:
    """The header's `alg`, if our allow-list has it (RFC 8725 section 3.1).

    Raises `AlgorithmRefused`.
    """
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in SIGNING_ALGORITHMS:
        raise AlgorithmRefused("the header names an algorithm outside the allow-list")
    return alg


def verify_jws(token: str, key: VerificationKey) -> bytes:
    """Verify one compact JWS under one key; returns the payload's bytes, of whatever content.

    Raises `TokenError`. Claims are not looked at: access tokens go through `AccessVerifier`.
    """
    signed, header_segment, payload_segment, signature_segment = split_jws(to_ascii(token))
    if signing_algorithm(parse_header(header_segment)) != key.alg:
        raise AlgorithmRefused("the header names another algorithm than the key's")
    verify_signature(signed, signature_segment, key)
    return base64url.decode(payload_segment)


def verify_signature(signed: bytes, signature: bytes, key: VerificationKey) -> None:
    """Verify the signature over header and payload as they were received (RFC 7515 section 5.2).

    Raises `TooLarge`, `Malformed` or `BadSignature`.
    """
    if len(signature) > MAX_SIGNATURE:
        raise TooLarge("the signature", len(signature), MAX_SIGNATURE)
    key.verify(base64url.decode(signature), signed)
