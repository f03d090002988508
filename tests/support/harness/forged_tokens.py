"""Tokens that are nearly right, for gateways that check signatures themselves."""

from __future__ import annotations

import hmac
import json

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from harness.issuer_app import claims_of
from harness.jose_oracle import b64u, unb64u

from keys import Key

WRONG_CLAIMS = {
    "expired": {"iat": -400, "exp": -100},
    "expired by the leeway exactly": {"iat": -100, "exp": -10},
    "from the future": {"iat": 60, "exp": 120},
    "not valid yet": {"nbf": 60},
    "living for too long": {"exp": 3601},
    "without an end": {"exp": None},
    "of a text for a number": {"exp": "9999999999"},
    "another issuer's": {"iss": "https://id.example"},
    "another audience's": {"aud": "other-api"},
    "of other audiences": {"aud": ["x", "y"]},
    "for nobody": {"aud": []},
    "without a subject": {"sub": None},
    "of an empty subject": {"sub": ""},
    "without a client": {"client_id": None},
    "without an id": {"jti": None},
    "of a short id": {"jti": "abc"},
    "without a session": {"sid": None},
    "without a version": {"sub_ver": None},
    "of a negative version": {"sub_ver": -1},
    "of a strange scope": {"scope": 'a"b'},
}
"""By what is wrong; `iat`, `exp` and `nbf` in seconds from now."""


def forged_signatures(token: str, key: Key) -> list[str]:
    """What nobody signed, made from a good token and the public half of its key."""
    head, payload, signature = token.split(".")
    claims = claims_of(token)
    header = {"typ": "at+jwt", "kid": key.kid}
    stranger = ec.generate_private_key(ec.SECP256R1())
    assert key.public is not None
    pem = key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def with_mac(alg: str) -> str:
        named = b64u(json.dumps({**header, "alg": alg}).encode())
        return ".".join(
            [named, payload, b64u(hmac.digest(pem, f"{named}.{payload}".encode(), "sha256"))]
        )

    none = b64u(json.dumps({**header, "alg": "none"}).encode())
    changed = b64u(json.dumps({**claims, "sub": "admin"}).encode())
    r, s = (int.from_bytes(unb64u(signature)[at : at + 32], "big") for at in (0, 32))
    # The last of 86 characters holds two bits: the next one spells the same bytes.
    respelled = signature[:-1] + chr(ord(signature[-1]) + 1)
    return [
        jwt.encode(claims, stranger, algorithm="ES256", headers=header),
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        with_mac("HS256"),
        with_mac("ES256"),
        f"{head}.{changed}.{signature}",
        f"{head}.{payload}.",
        f"{head}.{payload}",
        f"{head}.{payload}.{signature}.x",
        f"{head}.{payload}.{signature[:-1]}",
        f"{head}.{payload}.{b64u(encode_dss_signature(r, s))}",
        f"{head}.{payload}.{b64u(bytes(64))}",
        f"{head}.{payload}.{signature}=",
        f"{head}.{payload}.{respelled}",
        f"{head}.{payload}.{signature}" + "A" * 8192,
        "x",
    ]
