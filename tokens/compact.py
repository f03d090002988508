"""The strict compact JWS form (RFC 7515 section 7.1) and the verification of its signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from keys import SIGNING_ALGORITHMS

from . import base64url, strict_json
from .errors import AlgorithmRefused, BadSignature, HeaderRefused, Malformed, TooLarge

# Caps in characters, checked before any decoding (RFC 8725 section 2.5 names the cost of parsing).
MAX_TOKEN = 8192
MAX_HEADER = 1024
MAX_SIGNATURE = 700  # RSA-4096 takes 683

# Members that would let a token choose its own key or its own rules (RFC 8725 sections 3.10, 3.1),
# and `crit`, whose every extension is unknown to us (RFC 7515 section 4.1.11).
REFUSED_HEADERS = frozenset({"crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "epk", "p2c"})

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

# `hashlib` takes half as long for the digest as `cryptography` itself.
_ECDSA_SHA256 = ec.ECDSA(Prehashed(hashes.SHA256()))
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)
_PKCS1 = padding.PKCS1v15()
_SHA256 = hashes.SHA256()


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key bound to the one algorithm it serves (RFC 8725 section 3.1)."""

    kid: str
    alg: str
    verify: Callable[[bytes, bytes], None]
    """`verify(signature, signing_input)`; raises `BadSignature`."""

    @classmethod
    def of(cls, kid: str, alg: str, public: PublicKey) -> VerificationKey:
        """Bind `public` to `alg`.

        Raises `AlgorithmRefused` where the algorithm is not allowed or not this kind of key's.
        """
        return cls(kid, alg, _verifier(alg, public))


def _verifier(alg: str, public: PublicKey) -> Callable[[bytes, bytes], None]:
    if (
        alg == "ES256"
        and isinstance(public, ec.EllipticCurvePublicKey)
        and isinstance(public.curve, ec.SECP256R1)
    ):
        return _es256(public)
    if alg == "EdDSA" and isinstance(public, ed25519.Ed25519PublicKey):
        return _eddsa(public)
    if alg in {"PS256", "RS256"} and isinstance(public, rsa.RSAPublicKey):
        if public.key_size < 2048:  # RFC 7518 section 3.3
            raise AlgorithmRefused("an RSA key below 2048 bits")
        scheme = _PSS if alg == "PS256" else _PKCS1
        return _rsa(public, scheme)
    raise AlgorithmRefused(f"{alg!r} is not an algorithm for this key")


def _es256(public: ec.EllipticCurvePublicKey) -> Callable[[bytes, bytes], None]:
    check = public.verify

    def verify(signature: bytes, data: bytes) -> None:
        # RFC 7518 section 3.4: R and S as 32 octets each, never DER and never shorter.
        if len(signature) != 64:
            raise BadSignature("an ES256 signature is 64 bytes")
        try:
            check(_der(signature), sha256(data).digest(), _ECDSA_SHA256)
        except InvalidSignature:
            raise BadSignature("the signature does not verify") from None

    return verify


# X.690 sections 8.3 and 8.9: an integer has a zero in front where its highest bit would read as a
# sign, and a sequence begins with its length.
_INTEGER = (b"\x02\x20", b"\x02\x21\x00")
_SEQUENCE = tuple(
    tuple(bytes((0x30, 68 + r + s)) + _INTEGER[r] for s in (False, True)) for r in (False, True)
)


def _der(signature: bytes) -> bytes:
    """R and S as the DER that `cryptography` takes."""
    r, s = signature[0], signature[32]
    if not r or not s:
        # Leading zeros, which DER leaves out: one signature in 128.
        halves = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
        return encode_dss_signature(*halves)
    r, s = r >> 7, s >> 7
    return b"".join((_SEQUENCE[r][s], signature[:32], _INTEGER[s], signature[32:]))


def _eddsa(public: ed25519.Ed25519PublicKey) -> Callable[[bytes, bytes], None]:
    check = public.verify

    def verify(signature: bytes, data: bytes) -> None:
        try:
            check(signature, data)
        except InvalidSignature:
            raise BadSignature("the signature does not verify") from None

    return verify


def _rsa(
    public: rsa.RSAPublicKey, scheme: padding.AsymmetricPadding
) -> Callable[[bytes, bytes], None]:
    def verify(signature: bytes, data: bytes) -> None:
        try:
            public.verify(signature, data, scheme, _SHA256)
        except InvalidSignature:
            raise BadSignature("the signature does not verify") from None

    return verify


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
    if not isinstance(token, str):
        raise Malformed("a token is text")
    try:
        return token.encode("ascii")
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
