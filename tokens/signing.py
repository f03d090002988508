"""Signs access tokens (RFC 9068) with PyJWT."""

from __future__ import annotations

import jwt

from keys import Key

from .claims import AccessClaims
from .errors import AlgorithmRefused

ACCESS_TYPE = "at+jwt"
"""RFC 9068 section 2.1: the explicit type that keeps token kinds apart (RFC 8725 section 3.11)."""


def sign(claims: AccessClaims, key: Key) -> str:
    """Sign an access token under `key`, by the key's own algorithm.

    Raises `AlgorithmRefused` if the key cannot sign: retiring, or not a signing key.
    """
    if key.private is None or isinstance(key.private, bytes):
        raise AlgorithmRefused("this key does not sign")
    return jwt.encode(
        claims.to_payload(),
        key.private,
        algorithm=key.alg,
        headers={"typ": ACCESS_TYPE, "kid": key.kid},
    )
