"""Attacks on algorithm, key and signature."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from itertools import product
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from harness.attack_material import (
    ED25519_ORDER,
    P256_ORDER,
    P256_PRIME,
    Material,
    encoded,
    p384_signature,
    public_jwk,
    strangers_key,
)
from harness.attack_table import Attack, Make, attacks
from harness.jose_oracle import b64u, raw_signature, unb64u

from keys import SIGNING_ALGORITHMS, Key

NONE = (
    "none", "None", "NONE", "nOnE", "NonE", "none ", " none", "none\0", "none\n", "\x00none",
    "n\u043ene", "\uff4eone", "null", "",
)  # fmt: skip
"""`none` as libraries have let it pass."""
NO_TEXT: tuple[Any, ...] = (None, [], ["none"], {}, True, False, 0, 1.5)
FOREIGN = (
    "HS256", "HS384", "HS512", "RS384", "RS512", "PS384", "PS512", "ES384", "ES512", "ES256K",
    "Ed25519", "Ed448", "ESB256", "RS1", "A256GCM", "dir", "RSA1_5", "ES256/../none", "es256",
    "eddsa", "ES256 ", "\uff25S256",
)  # fmt: skip
"""Names outside the allow-list."""
HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def _pem(key: Key, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
    assert key.public is not None
    return key.public.public_bytes(Encoding.PEM, form)


def _bytes(encoding: Encoding, form: PublicFormat) -> Callable[[Key], bytes]:
    def write(key: Key) -> bytes:
        assert key.public is not None
        return key.public.public_bytes(encoding, form)

    return write


def _number(key: Key) -> bytes:
    jwk = public_jwk(key)
    return unb64u(jwk.get("n") or jwk["x"])


FORMS: dict[str, Callable[[Key], bytes]] = {
    "PEM": _pem,
    "PEM without its last line break": lambda key: _pem(key).rstrip(),
    "PEM behind a space": lambda key: b" " + _pem(key),
    "PEM behind a byte order mark": lambda key: b"\xef\xbb\xbf" + _pem(key),
    "PEM with other line ends": lambda key: _pem(key).replace(b"\n", b"\r\n"),
    "PEM without line ends": lambda key: _pem(key).replace(b"\n", b""),
    "PEM in base64": lambda key: b64u(_pem(key)).encode(),
    "DER": _bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "OpenSSH form": _bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    "JWK": lambda key: json.dumps(public_jwk(key)).encode(),
    "JWK behind a byte order mark": lambda key: (
        b"\xef\xbb\xbf" + json.dumps(public_jwk(key)).encode()
    ),
    "JWK set": lambda key: json.dumps({"keys": [public_jwk(key)]}).encode(),
    "number": _number,
    "kid": lambda key: key.kid.encode(),
}
"""A public key in each form that a server might take for a shared secret."""
FORMS_OF: dict[str, dict[str, Callable[[Key], bytes]]] = {
    "ES256": {"point": _bytes(Encoding.X962, PublicFormat.UncompressedPoint)},
    "EdDSA": {"raw form": _bytes(Encoding.Raw, PublicFormat.Raw)},
    "PS256": {"PKCS1 PEM": lambda key: _pem(key, PublicFormat.PKCS1)},
    "RS256": {"PKCS1 PEM": lambda key: _pem(key, PublicFormat.PKCS1)},
}


def mac(m: Material, name: str, secret: bytes, alg: str) -> str:
    """A token whose MAC anybody can compute."""
    body = f"{encoded(m.header(alg, alg=name))}.{encoded(m.claims)}"
    digest = HASHES.get(name, hashlib.sha256)
    return f"{body}.{b64u(hmac.new(secret, body.encode(), digest).digest())}"


def honest_signature(m: Material, alg: str = "ES256") -> bytes:
    """The signature of an honest token."""
    return unb64u(m.token(alg).rpartition(".")[2])


EDGES = {
    "0": 0, "1": 1, "n-1": P256_ORDER - 1, "n": P256_ORDER, "n+1": P256_ORDER + 1,
    "p": P256_PRIME, "2^256-1": 2**256 - 1,
}  # fmt: skip


def _b32(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _as_der(raw: bytes) -> bytes:
    return encode_dss_signature(*(int.from_bytes(raw[at : at + 32], "big") for at in (0, 32)))


Spoil = Callable[[bytes], bytes]
ECDSA: dict[str, Spoil] = {
    **{
        # RFC 7518 section 3.4, SEC 1 section 4.1.4: both from 1 to n-1.
        f"R {r} and S {s}": lambda _, r=r, s=s: _b32(EDGES[r]) + _b32(EDGES[s])  # type: ignore[misc]
        for r, s in product(EDGES, repeat=2)
    },
    "empty": lambda _: b"",
    "of 64 other bytes": lambda _: b"\xff" * 64,
    "as DER": _as_der,
    "with a zero in front": lambda raw: b"\0" + raw,
    "with a zero behind": lambda raw: raw + b"\0",
    "with zeros in front of both halves": lambda raw: b"\0" + raw[:32] + b"\0" + raw[32:],
    "cut by a byte": lambda raw: raw[:-1],
    "cut to R": lambda raw: raw[:32],
    "doubled": lambda raw: raw + raw,
    "with its halves swapped": lambda raw: raw[32:] + raw[:32],
    "of R 0": lambda raw: bytes(32) + raw[32:],
    "of S 0": lambda raw: raw[:32] + bytes(32),
    "of R n": lambda raw: _b32(P256_ORDER) + raw[32:],
    "of S n": lambda raw: raw[:32] + _b32(P256_ORDER),
    "with R negated": lambda raw: _b32(P256_ORDER - int.from_bytes(raw[:32], "big")) + raw[32:],
}
"""An honest ES256 signature in other forms, and with its halves replaced."""
IDENTITY = b"\x01" + bytes(31)


def _orders_added(times: int) -> Spoil:
    """RFC 8032 section 5.1.7: S is below the order."""

    def spoil(raw: bytes) -> bytes:
        s = int.from_bytes(raw[32:], "little") + times * ED25519_ORDER
        return raw[:32] + (s % 2**256).to_bytes(32, "little")

    return spoil


EDDSA: dict[str, Spoil] = {
    **{f"with {times} orders added to S": _orders_added(times) for times in (1, 2, 7, 15)},
    "empty": lambda _: b"",
    "of zeros": lambda _: bytes(64),
    "of the identity and 0": lambda _: IDENTITY + bytes(32),
    "of the identity and the order": lambda _: IDENTITY + ED25519_ORDER.to_bytes(32, "little"),
    "of an R that is no point": lambda raw: b"\x02" + bytes(30) + b"\x80" + raw[32:],
    "of a non-canonical identity": lambda _: b"\xee" + b"\xff" * 30 + b"\x7f" + bytes(32),
    "of S 0": lambda raw: raw[:32] + bytes(32),
    "cut by a byte": lambda raw: raw[:-1],
    "with a zero behind": lambda raw: raw + b"\0",
    "with its halves swapped": lambda raw: raw[32:] + raw[:32],
}


def _rsa_value(change: Callable[[int, int], int]) -> Callable[[bytes, int], bytes]:
    """Another number; one above the modulus takes a byte more."""

    def spoil(raw: bytes, n: int) -> bytes:
        value = change(int.from_bytes(raw, "big"), n)
        return value.to_bytes(max(len(raw), (value.bit_length() + 7) // 8), "big")

    return spoil


RSA: dict[str, Callable[[bytes, int], bytes]] = {
    "empty": lambda _raw, _n: b"",
    "of 0": _rsa_value(lambda _s, _n: 0),
    "of 1": _rsa_value(lambda _s, _n: 1),
    "of n-1": _rsa_value(lambda _s, n: n - 1),
    "of n": _rsa_value(lambda _s, n: n),
    "of n added": _rsa_value(lambda s, n: s + n),
    "negated": _rsa_value(lambda s, n: n - s),
    "with a zero in front": lambda raw, _n: b"\0" + raw,
    "with a zero behind": lambda raw, _n: raw + b"\0",
    "cut by a byte": lambda raw, _n: raw[:-1],
}
SHA1, SHA256, SHA512 = hashes.SHA1(), hashes.SHA256(), hashes.SHA512()
PSS, PKCS1, MGF = padding.PSS, padding.PKCS1v15(), padding.MGF1(SHA256)
SCHEMES: dict[str, tuple[Any, Any]] = {
    "PKCS1 over SHA-1": (PKCS1, SHA1),
    "PKCS1 over SHA-512": (PKCS1, SHA512),
    "PSS without salt": (PSS(MGF, 0), SHA256),
    "PSS of the longest salt": (PSS(MGF, PSS.MAX_LENGTH), SHA256),
    "PSS with MGF1 of SHA-1": (PSS(padding.MGF1(SHA1), 32), SHA256),
}
"""RFC 7518 section 3.5: MGF1 and hash of SHA-256, a salt as long as the hash."""


def _spoilt(alg: str, spoil: Spoil) -> Make:
    return lambda m: m.unsigned(m.header(alg), spoil(honest_signature(m, alg)))


def _rsa_spoilt(alg: str, spoil: Callable[[bytes, int], bytes]) -> Make:
    def make(m: Material) -> str:
        private: Any = m.key(alg).private
        modulus = private.public_key().public_numbers().n
        return m.unsigned(m.header(alg), spoil(honest_signature(m, alg), modulus))

    return make


def _scheme(alg: str, scheme: tuple[Any, Any]) -> Make:
    def make(m: Material) -> str:
        private: Any = m.key(alg).private
        body = f"{encoded(m.header(alg))}.{encoded(m.claims)}"
        return f"{body}.{b64u(private.sign(body.encode(), *scheme))}"

    return make


def _named(name: Any, alg: str = "ES256", *, signed: bool) -> Make:
    def make(m: Material) -> str:
        header = m.header(alg, alg=name)
        return m.signed(header, alg=alg) if signed else m.unsigned(header)

    return make


def _mac(name: str, form: str, alg: str) -> Make:
    return lambda m: mac(m, name, {**FORMS, **FORMS_OF.get(alg, {})}[form](m.key(alg)), alg)


def _mac_with(secret: bytes) -> Make:
    return lambda m: mac(m, "HS256", secret, "ES256")


def _declared_own(alg: str) -> Make:
    """A MAC under a header that names the key's own algorithm."""
    return lambda m: mac(m, alg, _pem(m.key(alg)), alg)


def _other_key(signed_by: str, kid_of: str, named: str) -> Make:
    """Signed by one of the issuer's keys under the `kid` of another."""
    return lambda m: m.signed(m.header(kid_of, alg=named), alg=signed_by)


def _strangers(alg: str, *, under_our_kid: bool) -> Make:
    def make(m: Material) -> str:
        key = strangers_key(alg)
        header = m.header(alg) if under_our_kid else m.header(alg, kid=key.kid)
        return m.signed(header, alg=alg, key=key)

    return make


def _curve(m: Material) -> str:
    """A signature by a key on another curve of the same size."""
    key: Any = ec.generate_private_key(ec.SECP256K1())
    body = f"{encoded(m.header())}.{encoded(m.claims)}"
    return f"{body}.{b64u(raw_signature('ES256', key, body.encode()))}"


def _p384(m: Material) -> str:
    body = f"{encoded(m.header(alg='ES384'))}.{encoded(m.claims)}"
    return f"{body}.{b64u(p384_signature(body.encode()))}"


def _truncated_p384(m: Material) -> str:
    body = f"{encoded(m.header())}.{encoded(m.claims)}"
    signature = p384_signature(body.encode())
    return f"{body}.{b64u(signature[:32] + signature[48:80])}"


PAIRS = [(by, of) for by, of in product(SIGNING_ALGORITHMS, repeat=2) if by != of]

SIGNATURES: list[Attack] = [
    *attacks(
        "RFC 8725 section 3.2, RFC 7519 section 6, ASVS 9.1.2",
        "algorithm_refused",
        {
            **{f"alg {name!r} without a signature": _named(name, signed=False) for name in NONE},
            **{f"alg {name!r} over a good signature": _named(name, signed=True) for name in NONE},
            **{f"alg {name!r}": _named(name, signed=True) for name in NO_TEXT},
            "no alg": lambda m: m.signed({"typ": "at+jwt", "kid": m.key().kid}),
        },
    ),
    *attacks(
        "RFC 8725 section 3.1, ASVS 9.1.2",
        "algorithm_refused",
        {f"alg {name!r} over a good signature": _named(name, signed=True) for name in FOREIGN},
    ),
    *attacks(
        "RFC 8725 section 2.1: a public key as a shared secret",
        "algorithm_refused",
        {
            f"{name} with the {form} of the {alg} key": _mac(name, form, alg)
            for alg in SIGNING_ALGORITHMS
            for form in (*FORMS, *FORMS_OF.get(alg, {}))
            for name in HASHES
        },
    ),
    *attacks(
        "RFC 8725 section 3.5: a secret that anybody guesses",
        "algorithm_refused",
        {
            "HS256 with no secret": _mac_with(b""),
            "HS256 with a zero byte": _mac_with(b"\0"),
            "HS256 with a word": _mac_with(b"secret"),
        },
    ),
    *attacks(
        "RFC 8725 section 2.1",
        "bad_signature",
        {f"a MAC declared as {alg}": _declared_own(alg) for alg in SIGNING_ALGORITHMS},
    ),
    *attacks(
        "RFC 8725 section 3.1: one key, one algorithm",
        "algorithm_refused",
        {
            **{f"{by} under the kid of the {of} key": _other_key(by, of, by) for by, of in PAIRS},
            **{
                f"alg {named} over a good signature of {by}": _named(named, by, signed=True)
                for by, named in PAIRS
            },
        },
    ),
    *attacks(
        "RFC 8725 section 3.3",
        "bad_signature",
        {f"{by} declared as {of}": _other_key(by, of, of) for by, of in PAIRS},
    ),
    *attacks(
        "RFC 8725 section 3.3: key substitution",
        "bad_signature",
        {
            **{
                f"a stranger's {alg} key under our kid": _strangers(alg, under_our_kid=True)
                for alg in SIGNING_ALGORITHMS
            },
            "a secp256k1 key under our kid": _curve,
            "a P-384 signature cut to size": _truncated_p384,
        },
    ),
    *attacks(
        "RFC 8725 section 3.1",
        "algorithm_refused",
        {"a P-384 key as ES384 under our kid": _p384},
    ),
    *attacks(
        "ASVS 9.1.3: trusted keys only",
        "unknown_kid",
        {
            f"a stranger's {alg} key under its own kid": _strangers(alg, under_our_kid=False)
            for alg in SIGNING_ALGORITHMS
        },
    ),
    *attacks(
        "RFC 7518 sections 3.3 to 3.5, RFC 8032 section 5.1.7, RFC 8725 section 3.3",
        "bad_signature",
        {
            **{f"an ES256 signature {name}": _spoilt("ES256", how) for name, how in ECDSA.items()},
            **{f"an EdDSA signature {name}": _spoilt("EdDSA", how) for name, how in EDDSA.items()},
            **{
                f"a {alg} signature {name}": _rsa_spoilt(alg, how)
                for alg in ("PS256", "RS256")
                for name, how in RSA.items()
            },
            **{
                f"a {alg} signature of {name}": _scheme(alg, scheme)
                for alg in ("PS256", "RS256")
                for name, scheme in SCHEMES.items()
            },
        },
    ),
]
