"""Tokens: whole ones, headers and payloads under a good signature, sealed ones, refresh tokens."""

from __future__ import annotations

import base64
import json
from unittest.mock import patch

import fuzz_oracles as oracle
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from fuzz_oracles import AUDIENCE, ISSUER, LEEWAY, MAX_LIFETIME, NOW
from fuzz_target import Target, agree
from joserfc import jwe
from joserfc.jwk import OctKey

from keys import Key, KeyRing, KeyState
from tokens import (
    AccessVerifier,
    Recipient,
    RefreshSealer,
    TokenError,
    UnknownKid,
    VerificationKey,
    base64url,
    claims,
    sealing,
    strict_json,
    verification_key,
    verifier,
)

KID = "k1"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
"""Known to everybody: what is signed with it is the same in each run, and so fits a corpus."""
KEY = VerificationKey.of(KID, "EdDSA", PRIVATE.public_key())
HEADER = {"alg": "EdDSA", "typ": "at+jwt", "kid": KID}
PAYLOAD = {
    "iss": ISSUER,
    "sub": "somebody",
    "aud": AUDIENCE,
    "client_id": "app",
    "iat": NOW,
    "exp": NOW + 300,
    "jti": "J" * 21 + "A",
    "sid": "S" * 21 + "A",
    "auth_time": NOW,
    "sub_ver": 3,
    "amr": ["pwd"],
    "scope": "read write",
    "roles": ["editor"],
    "acr": "aal1",
}
SEALING = b"\x03" * 32


def find_key(kid: str) -> VerificationKey:
    if kid != KID:
        raise UnknownKid(kid)
    return KEY


def dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def signed(header: bytes, payload: bytes) -> str:
    data = f"{base64url.encode(header)}.{base64url.encode(payload)}"
    return f"{data}.{base64url.encode(PRIVATE.sign(data.encode()))}"


HONEST = signed(dumps(HEADER), dumps(PAYLOAD))
VERIFIER = AccessVerifier(
    issuer=ISSUER,
    audience=AUDIENCE,
    find_key=find_key,
    leeway=LEEWAY,
    max_lifetime=MAX_LIFETIME,
    clock=lambda: NOW,
)


def accepts(token: str) -> bool:
    try:
        VERIFIER.verify(token)
    except TokenError:
        return False
    return True


def whole_token(data: bytes) -> bool:
    """Only what was signed is taken, and only as it was spelled."""
    token = data.decode("latin-1")
    taken = accepts(token)
    agree(taken, token == HONEST, "a token")
    return taken


def header(data: bytes) -> bool:
    """Under a good signature, what a header says decides."""
    taken = accepts(signed(data, dumps(PAYLOAD)))
    agree(taken, oracle.header_is_good(data, KID, "EdDSA"), "a header")
    return taken


def payload(data: bytes) -> bool:
    """Under a good signature, what a payload says decides; both of our readers say the same."""
    taken = accepts(signed(dumps(HEADER), data))
    agree(taken, oracle.payload_is_good(data), "a payload")
    return taken


def ecdsa_form(data: bytes) -> bool:
    """Our DER of an ES256 signature is the library's."""
    if len(data) != 64:
        return False
    r, s = (int.from_bytes(half, "big") for half in (data[:32], data[32:]))
    agree(verification_key._der(data), encode_dss_signature(r, s), "a signature's form")
    return True


def base64_text(data: bytes) -> bool:
    """One spelling for each value (RFC 4648 section 3.5)."""
    try:
        raw = base64url.decode(data)
    except TokenError:
        raw = None
    try:
        theirs = base64.urlsafe_b64decode(data + b"=" * (-len(data) % 4))
    except ValueError:
        theirs = b""
    one = base64.urlsafe_b64encode(theirs).rstrip(b"=") == data
    agree(raw, theirs if one else None, "base64url")
    return raw is not None


_AGREEMENT = X25519PrivateKey.from_private_bytes(b"\x02" * 32)
RECIPIENT = Recipient.from_jwk(
    {
        "kty": "OKP",
        "crv": "X25519",
        "kid": "r1",
        "alg": "ECDH-ES",
        "x": base64url.encode(_AGREEMENT.public_key().public_bytes_raw()),
        "d": base64url.encode(_AGREEMENT.private_bytes_raw()),
    }
)
RING = KeyRing(
    (Key("s1", "A256GCM", KeyState.ACTIVE, created=NOW, activated=NOW, private=SEALING),)
)
SEALER = RefreshSealer(ISSUER, lambda: RING)
REFRESH = {
    "v": 1,
    "iss": ISSUER,
    "sub": "somebody",
    "sid": "S" * 21 + "A",
    "client_id": "app",
    "gen": 4,
    "exp": NOW + 3600,
}
"""Of a refresh token, generation 4."""


def sealed_token(data: bytes) -> bool:
    """Whatever comes in the place of one part, a sealed token is opened or refused by its code."""
    part, text = data[:1], data[1:].decode("latin-1")
    if part in b"01234" and part:
        parts = SEALED.split(".")
        parts[int(part)] = text
        text = ".".join(parts)
    try:
        inner = sealing.unseal(text, {"r1": RECIPIENT})
    except TokenError:
        agree(text == SEALED, False, "a sealed token")
        return False
    agree((text, inner), (SEALED, HONEST), "a sealed token")
    return True


def refresh_claims(data: bytes) -> bool:
    """Of what this issuer sealed itself, only the claims of a refresh token are taken."""
    outer = {"alg": "dir", "enc": "A256GCM", "typ": sealing.REFRESH_TYPE, "kid": "s1"}
    token = jwe.encrypt_compact(
        outer, data, OctKey.import_key(SEALING), algorithms=["dir", "A256GCM"]
    )
    try:
        SEALER.open(token, NOW)
    except TokenError:
        taken = False
    else:
        taken = True
    agree(taken, len(token) <= sealing.MAX_REFRESH and oracle.refresh_is_good(data), "a refresh")
    return taken


def json_object(data: bytes) -> bool:
    """Objects are read as the oracle reads them, value for value."""
    try:
        ours = strict_json.loads_object(data)
    except TokenError:
        ours = None
    agree(repr(ours), repr(oracle.strict_object(data)), "JSON")
    return ours is not None


SEALED = sealing.seal(HONEST, RECIPIENT)


def _lenient(text: bytes) -> bytes:
    """A decoder that passes over what is no base64."""
    return base64.urlsafe_b64decode(text + b"==")


class _AnyType:
    """Every kind of token is an access token."""

    def __contains__(self, typ: object) -> bool:
        return True


def _short_der(raw: bytes) -> bytes:
    """No zero in front of a number whose highest bit is set."""
    return b"\x30\x44\x02\x20%b\x02\x20%b" % (raw[:32], raw[32:])


TARGETS = [
    Target(
        "token",
        whole_token,
        lambda: [HONEST.encode()],
        lambda: patch.object(base64url, "decode", _lenient),
    ),
    Target(
        "header",
        header,
        lambda: [dumps(HEADER), dumps(HEADER | {"typ": "application/AT+JWT", "x": [1]})],
        lambda: patch.object(verifier, "_ACCESS_TYPES", _AnyType()),
        longest=1024,
    ),
    Target(
        "payload",
        payload,
        lambda: [
            dumps(PAYLOAD),
            dumps(PAYLOAD | {"aud": ["x", AUDIENCE], "nbf": NOW + LEEWAY}),
            dumps(PAYLOAD | {"exp": NOW + MAX_LIFETIME, "sub_ver": oracle.MOST}),
        ],
        lambda: patch.object(claims, "_scope", lambda payload: payload.get("scope", "")),
        longest=1024,
    ),
    Target(
        "json",
        json_object,
        lambda: [
            dumps(PAYLOAD),
            b'{"a":"\\ud83e\\udd8a","b":[1.5e3,-0,null]}',
            b'{"a":{},"b":2,"c":3,"d":4,"e":5}',
        ],
        lambda: patch.object(strict_json, "_decoder", json.JSONDecoder()),
    ),
    Target(
        "base64",
        base64_text,
        lambda: [HONEST.split(".")[1].encode(), b"AA", b"AAA", b"-_-_"],
        lambda: patch.object(base64url, "_CANONICAL_LAST", (None,) * 4),
    ),
    Target(
        "signature",
        ecdsa_form,
        lambda: [bytes(range(64)), bytes(range(1, 65))],
        lambda: patch.object(verification_key, "_der", _short_der),
        longest=64,
    ),
    Target(
        "sealed",
        sealed_token,
        lambda: [
            b"w" + SEALED.encode(),
            *(b"%d%s" % (at, part.encode()) for at, part in enumerate(SEALED.split("."))),
        ],
        lambda: patch.object(base64url, "decode", _lenient),
        longest=2048,
    ),
    Target(
        "refresh",
        refresh_claims,
        lambda: [
            dumps(REFRESH),
            dumps({name: value for name, value in REFRESH.items() if name != "v"}),
            dumps(REFRESH | {"exp": oracle.MOST, "gen": oracle.MOST}),
        ],
        lambda: patch.object(claims, "_id", claims._text),
        longest=800,
    ),
]
