"""Attacks on encrypted tokens: sealed access tokens, and refresh tokens."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from harness.attack_material import (
    P256_PRIME,
    Material,
    decryption_keys,
    encoded,
    opaque,
)
from harness.attack_table import Attack, Make, attacks
from harness.jose_oracle import b64u, seal_with_secret, unb64u
from joserfc.jwk import ECKey, OctKey, OKPKey

from tokens.compact import MAX_HEADER
from tokens.sealing import MAX_SEALED

SUITES = tuple(jwk["kid"] for jwk in decryption_keys())
LOW_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    2**255 - 20,
    2**255 - 19,
    2**255 - 18,
)
"""Points of X25519 with which every agreement gives zero (RFC 7748 section 6.1)."""
NAMES = ("header", "encrypted key", "IV", "ciphertext", "tag")
BOMB = "x" * 6_000_000


def deflated(content: str) -> bytes:
    """RFC 7516 section 4.1.3: DEFLATE without a wrapping."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(content.encode()) + compressor.flush()


def _header_of(token: str) -> dict[str, Any]:
    return dict(json.loads(unb64u(token.partition(".")[0])))


def with_header(token: str, change: Callable[[dict[str, Any]], Any]) -> str:
    """A token under another header; its other parts stay."""
    _, _, rest = token.partition(".")
    return f"{encoded(change(_header_of(token)))}.{rest}"


def headed(kind: Callable[[Material], str], **changes: Any) -> Make:
    """A token of this kind under a header that was changed afterwards."""

    def changed(header: dict[str, Any]) -> dict[str, Any]:
        return {name: v for name, v in {**header, **changes}.items() if v is not ...}

    return lambda m: with_header(kind(m), changed)


def altered(kind: Callable[[Material], str], which: int, change: Callable[[bytes], bytes]) -> Make:
    """A token of this kind with the bytes of one part changed."""

    def make(m: Material) -> str:
        parts = kind(m).split(".")
        parts[which] = b64u(change(unb64u(parts[which])))
        return ".".join(parts)

    return make


def flipped(raw: bytes) -> bytes:
    """With one bit changed; a byte where there was none."""
    return bytes([raw[0] ^ 1]) + raw[1:] if raw else b"\0"


def respelt(kind: Callable[[Material], str], which: int, change: Callable[[str], str]) -> Make:
    """A token of this kind with the text of one part changed."""

    def make(m: Material) -> str:
        parts = kind(m).split(".")
        parts[which] = change(parts[which])
        return ".".join(parts)

    return make


def _sealed(suite: str) -> Callable[[Material], str]:
    return lambda m: m.sealed(suite=suite)


def _any_sealed(m: Material) -> str:
    return m.sealed()


def _epk(suite: str, epk: Any) -> Make:
    return headed(_sealed(suite), epk=epk)


def _epk_point(suite: str, change: Callable[[int, int], tuple[int, int]]) -> Make:
    """The token's own ephemeral point, moved."""

    def make(m: Material) -> str:
        token = m.sealed(suite=suite)
        epk = _header_of(token)["epk"]
        x, y = (int.from_bytes(unb64u(epk[name]), "big") for name in "xy")
        moved = (b64u(value.to_bytes(32, "big")) for value in change(x, y))
        return with_header(
            token, lambda h: {**h, "epk": {**epk, **dict(zip("xy", moved, strict=True))}}
        )

    return make


def _low_order(suite: str, u: int) -> Make:
    """A token under the secret that a point of low order agrees on with every key: zero."""

    def make(m: Material) -> str:
        own = m.recipient(suite)
        epk = {"kty": "OKP", "crv": "X25519", "x": b64u(u.to_bytes(32, "little"))}
        header = {"alg": own.alg, "enc": "A256GCM", "cty": "JWT", "kid": own.kid, "epk": epk}
        return seal_with_secret(header, bytes(32), m.token().encode())

    return make


def flattened(kind: Callable[[Material], str]) -> Make:
    """A token of this kind as flattened JSON (RFC 7516 section 7.2.2)."""

    def make(m: Material) -> str:
        protected, key, iv, ciphertext, tag = kind(m).split(".")
        members = {"protected": protected, "iv": iv, "ciphertext": ciphertext, "tag": tag}
        return json.dumps({**members, "encrypted_key": key})

    return make


P384 = ec.generate_private_key(ec.SECP384R1())
OTHER_KEYS: dict[str, Any] = {
    "null": None,
    "a text": "x",
    "a number": 7,
    "a list": ["x"],
    "empty": {},
    "of no coordinates": {"kty": "EC", "crv": "P-256"},
    "of numbers": {"kty": "EC", "crv": "P-256", "x": 1, "y": 2},
    "of empty texts": {"kty": "EC", "crv": "P-256", "x": "", "y": ""},
    "at the origin": {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
    "of a curve in a list": {"kty": "EC", "crv": ["P-256"], "x": "AA", "y": "AA"},
    "of P-384": ECKey(P384, P384.public_key()).as_dict(private=False),
    "of P-384 called P-256": {
        **ECKey(P384, P384.public_key()).as_dict(private=False),
        "crv": "P-256",
    },
    "of X25519 for anybody": OKPKey.generate_key("X25519").as_dict(private=False),
    "of Ed25519": OKPKey.generate_key("Ed25519").as_dict(private=False),
    "of a secret": OctKey.generate_key(256).as_dict(private=True),
    "of another sender": ECKey.generate_key("P-256").as_dict(private=False),
    "of RSA numbers": {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
}
POINTS: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "beside the curve": lambda x, y: (x, (y + 1) % P256_PRIME),
    "with its coordinates swapped": lambda x, y: (y, x),
    "of y 0": lambda x, _: (x, 0),
    "of x 0": lambda _, y: (0, y),
    "of coordinates beyond the field": lambda x, y: (P256_PRIME, y),
    "of the largest coordinates": lambda x, y: (2**256 - 1, 2**256 - 1),
    "negated beyond the field": lambda x, y: (x, min(2**256 - 1, 2 * P256_PRIME - y)),
}

SEALED: list[Attack] = [
    *attacks(
        "RFC 7516 section 5.2: every part is authenticated",
        "bad_signature",
        {
            f"a sealed token with another {name}, {suite}": altered(_sealed(suite), at, flipped)
            for suite in SUITES
            for at, name in enumerate(NAMES)
            if at > 0
        },
    ),
    *attacks(
        "RFC 7518 section 5.3: a tag of 128 bits, an IV of 96",
        "bad_signature",
        {
            **{
                f"a sealed token with a tag of {size} bytes": altered(
                    _any_sealed, 4, lambda raw, size=size: raw[:size]
                )
                for size in (0, 1, 4, 8, 12, 15)
            },
            "a sealed token with a tag of 17 bytes": altered(_any_sealed, 4, lambda r: r + b"\0"),
            "a sealed token without an IV": altered(_any_sealed, 2, lambda _: b""),
            "a sealed token with an IV of a byte": altered(_any_sealed, 2, lambda raw: raw[:1]),
            "a sealed token with an IV of 13 bytes": altered(_any_sealed, 2, lambda r: r + b"\0"),
            "a sealed token without a ciphertext": altered(_any_sealed, 3, lambda _: b""),
            "a sealed token without a key": altered(_any_sealed, 1, lambda _: b""),
        },
    ),
    *attacks(
        "RFC 7516 section 5.2, RFC 4648 section 3.5",
        "malformed",
        {
            f"a sealed token with its {name} {why}": respelt(_any_sealed, at, change)
            for at, name in enumerate(NAMES)
            for why, change in {
                "padded too much": lambda text: f"{text}====",
                "behind a space": lambda text: f" {text}",
                "before a foreign character": lambda text: f"{text}*",
            }.items()
        },
    ),
    *attacks(
        "RFC 8725 section 3.4, SEC 1 section 3.2.2: points are validated",
        "bad_signature",
        {
            f"an ephemeral point {why}, {suite}": _epk_point(suite, change)
            for suite in SUITES
            if suite.startswith("P-256")
            for why, change in POINTS.items()
        },
    ),
    *attacks(
        "RFC 7748 section 6.1, RFC 8725 section 3.4: an agreement on zero",
        "bad_signature",
        {
            f"an ephemeral point of low order, {u:x}, {suite}": _low_order(suite, u)
            for suite in SUITES
            if suite.startswith("X25519")
            for u in LOW_ORDER
        },
    ),
    *attacks(
        "RFC 7518 section 4.6.1.1",
        "bad_signature",
        {
            **{
                f"an ephemeral key {why}, {suite}": _epk(suite, epk)
                for suite in SUITES
                for why, epk in OTHER_KEYS.items()
            },
            "no ephemeral key": headed(_any_sealed, epk=...),
        },
    ),
    *attacks(
        "RFC 8725 section 3.1",
        "algorithm_refused",
        {
            **{
                f"a sealed token of alg {alg!r}": headed(_any_sealed, alg=alg)
                for alg in ("dir", "ECDH-ES", "ECDH-ES+A128KW", "RSA1_5", "RSA-OAEP", "A256KW",
                            "PBES2-HS256+A128KW", "none", "", None, ["ECDH-ES+A256KW"], 1)
            },
            "a token sealed by the suite's other algorithm": lambda m: m.encrypted(
                m.token(), alg="ECDH-ES"
            ),
            "a token sealed with AES of 128 bits": lambda m: m.encrypted(m.token(), enc="A128GCM"),
            **{
                f"a sealed token of enc {enc!r}": headed(_any_sealed, enc=enc)
                for enc in ("A128CBC-HS256", "A256CBC-HS512", "A128GCM", "none", None, ["A256GCM"])
            },
        },
    ),
    *attacks(
        "RFC 8725 sections 3.6 and 3.10, RFC 7515 section 4.1.11",
        "header_refused",
        {
            f"a sealed token with {name} {value!r:.40}": (
                lambda m, name=name, value=value: m.encrypted(m.token(), **{name: value})
            )
            for name, value in (
                ("zip", "DEF"), ("zip", "GZIP"), ("crit", ["exp"]), ("crit", []), ("jwk", {}),
                ("jku", "http://127.0.0.1:9"), ("x5u", "http://127.0.0.1:9"), ("x5c", ["AA"]),
                ("p2c", 2**31 - 1), ("p2s", "AA"),
            )
        },
    ),
    *attacks(
        "RFC 8725 section 3.6, CWE-409",
        "header_refused",
        {
            "a compressed token": lambda m: m.encrypted(deflated(m.token()), zip="DEF"),
            "a bomb of six megabytes": lambda m: m.encrypted(deflated(BOMB), zip="DEF"),
        },
    ),
    *attacks(
        "CWE-400: iterations of the sender's choice",
        "algorithm_refused",
        {
            f"PBES2 without its salt, {alg}": headed(_any_sealed, alg=alg)
            for alg in ("PBES2-HS384+A192KW", "PBES2-HS512+A256KW")
        },
    ),
    *attacks(
        "CWE-400",
        "header_refused",
        {
            f"PBES2 of {count} iterations": headed(
                _any_sealed, alg="PBES2-HS256+A128KW", p2c=count, p2s=b64u(bytes(16))
            )
            for count in (2**31 - 1, 10**300, -1, 1e300)
        },
    ),
    *attacks(
        "RFC 8725 section 3.12, RFC 7519 section 5.2",
        "wrong_type",
        {
            f"sealed content of cty {cty!r}": (lambda m, cty=cty: m.encrypted(m.token(), cty=cty))
            for cty in ("jwt", "JWS", "application/jwt", "", "JWT ")
        }
        | {"sealed content of no cty": lambda m: m.encrypted(m.token(), cty=...)},
    ),
    *attacks(
        "RFC 8725 section 3.3: both layers are verified",
        "algorithm_refused",
        {"none inside a seal": lambda m: m.sealed(m.unsigned(m.header(alg="none")))},
    ),
    *attacks(
        "RFC 8725 section 3.3",
        "malformed",
        {
            "claims inside a seal": lambda m: m.encrypted(json.dumps(m.claims)),
            "a seal inside a seal": lambda m: m.sealed(m.sealed()),
            "nothing inside a seal": lambda m: m.encrypted(""),
            "bytes inside a seal": lambda m: m.encrypted("\u00e9"),
            "a reset token inside a seal": lambda m: m.sealed(opaque()),
            "flattened JSON of a sealed token": flattened(_any_sealed),
        },
    ),
    *attacks(
        "RFC 8725 section 3.10",
        "unknown_kid",
        {
            f"a sealed token of kid {kid!r}": headed(_any_sealed, kid=kid)
            for kid in ("../../dev/null", "' OR 1=1", "", None, 1, [], {}, "\0", "k" * 500)
        }
        | {"a sealed token of no kid": headed(_any_sealed, kid=...)},
    ),
    *attacks(
        "RFC 8725 section 2.5",
        "too_large",
        {
            "a sealed token with a large header": lambda m: m.encrypted(
                m.token(), apu="A" * MAX_HEADER
            ),
            "a sealed token with a large ciphertext": altered(
                _any_sealed, 3, lambda raw: raw + bytes(MAX_SEALED)
            ),
        },
    ),
    *attacks(
        "RFC 7515 section 4: members are unique",
        "malformed",
        {
            "a sealed token with alg twice": respelt(
                _any_sealed, 0, lambda text: b64u(unb64u(text)[:-1] + b',"alg":"dir"}')
            ),
            "a sealed token with a deep header": respelt(
                _any_sealed, 0, lambda text: b64u(unb64u(text)[:-1] + b',"x":' + b"[" * 300 + b"}")
            ),
            **{
                f"a sealed token with a header of {raw!r}": respelt(
                    _any_sealed, 0, lambda _, raw=raw: b64u(raw)
                )
                for raw in (b"", b"[]", b"null", b"7", b'"x"', b"{", b"\xff")
            },
        },
    ),
]  # fmt: skip
