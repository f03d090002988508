"""JSON Web Keys: writing, strict reading, thumbprints (RFC 7517, 7518 section 6, 7638, 8037)."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .algorithms import PublicKey, check_fit, check_rsa_size
from .errors import InvalidKey

if TYPE_CHECKING:
    from .ring import Key

# RFC 7638 section 3.2 and RFC 8037 section 2. `oct` is left out on purpose: the thumbprint of a
# symmetric key is a digest of the secret, and a kid is public (RFC 7638 section 7).
_THUMBPRINT_MEMBERS: Final = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}
_SHAPE: Final = {
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
    "PS256": ("RSA", None),
    "RS256": ("RSA", None),
}
# RFC 7518 sections 6.2.2, 6.3.2, 6.4.1 and RFC 8037 section 2, and RFC 9964's seed.
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_P256_BYTES: Final = 32
_P256_FIELD: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
_ED25519_BYTES: Final = 32
_MOST_KID: Final = 256
_B64URL: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


def b64url_encode(raw: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def b64url_decode(text: str) -> bytes:
    """Decode canonical base64url only: no padding, no other alphabet, unused bits zero.

    Raises ValueError. A text that has a second spelling of the same octets is refused, so that
    comparing texts and comparing octets mean the same.
    """
    if not _B64URL.fullmatch(text):
        raise ValueError("not base64url")
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise ValueError("not base64url") from None
    if b64url_encode(raw) != text:
        raise ValueError("not canonical base64url")
    return raw


def thumbprint(jwk: Mapping[str, object]) -> str:
    """SHA-256 thumbprint of a public JWK, base64url (RFC 7638 section 3).

    Raises InvalidKey for another key type or a required member that is missing or no string.
    """
    kty = jwk.get("kty")
    names = _THUMBPRINT_MEMBERS.get(kty) if isinstance(kty, str) else None
    if names is None:
        raise InvalidKey("no thumbprint for this kty")
    members = {name: _text(jwk, name) for name in names}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    try:
        octets = canonical.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidKey("a member is not valid Unicode") from None
    return b64url_encode(hashlib.sha256(octets).digest())


def public_members(public: PublicKey) -> dict[str, str]:
    """The members of a public JWK that describe the key itself (RFC 7518 section 6, RFC 8037)."""
    match public:
        case ec.EllipticCurvePublicKey():
            point = public.public_numbers()
            return {
                "kty": "EC",
                "crv": "P-256",
                "x": b64url_encode(point.x.to_bytes(_P256_BYTES, "big")),
                "y": b64url_encode(point.y.to_bytes(_P256_BYTES, "big")),
            }
        case ed25519.Ed25519PublicKey():
            raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
            return {"kty": "OKP", "crv": "Ed25519", "x": b64url_encode(raw)}
        case _:
            numbers = public.public_numbers()
            return {"kty": "RSA", "n": _encode_uint(numbers.n), "e": _encode_uint(numbers.e)}


def public_jwk(key: "Key") -> dict[str, str]:
    """The public JWK of an asymmetric key, as it stands in the JWKS (RFC 7517 section 4).

    Raises InvalidKey for the sealing key, which has no public half.
    """
    if key.public is None:
        raise InvalidKey("a symmetric key has no public JWK")
    return {**public_members(key.public), "kid": key.kid, "use": "sig", "alg": key.alg}


def load_public_jwk(jwk: Mapping[str, object]) -> tuple[str, str, PublicKey]:
    """Read a verification key from a JWKS: `(kid, alg, key)`, or nothing at all.

    `alg` and `kid` are required here although RFC 7517 sections 4.4 and 4.5 leave them optional,
    so that no token header can choose the algorithm of a key (RFC 8725 section 3.1).
    Raises InvalidKey.
    """
    kid, alg = _text(jwk, "kid"), _text(jwk, "alg")
    if not 0 < len(kid) <= _MOST_KID:
        raise InvalidKey(f"kid must have 1 to {_MOST_KID} characters")
    if alg not in _SHAPE:
        raise InvalidKey("alg is not in the allow-list")
    if _PRIVATE_MEMBERS & jwk.keys():
        raise InvalidKey("a public JWK holds private members")
    if jwk.get("use", "sig") != "sig":
        raise InvalidKey("use is not sig")
    if jwk.get("key_ops", ["verify"]) != ["verify"]:
        raise InvalidKey("key_ops is not exactly verify")
    kty, crv = _SHAPE[alg]
    if jwk.get("kty") != kty or jwk.get("crv") != crv:
        raise InvalidKey(f"kty and crv do not fit {alg}")
    return kid, alg, check_fit(alg, _load_members(kty, jwk))


def _load_members(kty: str, jwk: Mapping[str, object]) -> PublicKey:
    try:
        if kty == "EC":
            # Fixed length, leading zeros kept: RFC 7518 section 6.2.1.2. The constructor refuses
            # a point that is not on the curve.
            x, y = (int.from_bytes(_octets(jwk, name, _P256_BYTES), "big") for name in "xy")
            if max(x, y) >= _P256_FIELD:
                raise InvalidKey("a coordinate is no element of the field")  # another spelling
            return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        if kty == "OKP":
            raw = _octets(jwk, "x", _ED25519_BYTES)
            return ed25519.Ed25519PublicKey.from_public_bytes(raw)
        n, e = _uint(jwk, "n"), _uint(jwk, "e")
        check_rsa_size(n.bit_length(), e)
        return rsa.RSAPublicNumbers(e, n).public_key()
    except ValueError:
        raise InvalidKey("the key's numbers are not a valid key") from None


def _text(jwk: Mapping[str, object], name: str) -> str:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise InvalidKey(f"{name} is missing or not a string")
    return value


def _octets(jwk: Mapping[str, object], name: str, length: int | None = None) -> bytes:
    try:
        raw = b64url_decode(_text(jwk, name))
    except ValueError as error:
        raise InvalidKey(f"{name} is {error}") from None
    if length is not None and len(raw) != length:
        raise InvalidKey(f"{name} is not {length} octets long")
    return raw


def _uint(jwk: Mapping[str, object], name: str) -> int:
    # Base64urlUInt: as few octets as possible, and zero is no key (RFC 7518 section 2).
    raw = _octets(jwk, name)
    if not raw or raw[0] == 0:
        raise InvalidKey(f"{name} is not a minimal positive integer")
    return int.from_bytes(raw, "big")


def _encode_uint(value: int) -> str:
    return b64url_encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))
