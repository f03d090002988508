"""Encrypts tokens with joserfc: access tokens for one audience, refresh tokens for ourselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey

from keys import KeyRing, UnknownKey

from . import base64url, strict_json
from .claims import RefreshClaims
from .compact import MAX_HEADER, split
from .errors import (
    AlgorithmRefused,
    BadSignature,
    Expired,
    HeaderRefused,
    InvalidClaim,
    Malformed,
    TokenError,
    TooLarge,
    UnknownKid,
    WrongIssuer,
    WrongType,
)

CONTENT_ENCRYPTION = "A256GCM"
AGREEMENT_ALGORITHMS = ("ECDH-ES+A256KW", "ECDH-ES")
REFRESH_TYPE = "rt+jwt"

MAX_SEALED = 12288
MAX_REFRESH = 1024

# RFC 8725 section 3.6: no compression. `crit` names extensions, and we have none.
_REFUSED_HEADERS = frozenset({"zip", "crit", "jku", "x5u", "x5c", "jwk", "p2c", "p2s"})

JweKey = ECKey | OKPKey | OctKey


@dataclass(frozen=True, slots=True)
class Jwe:
    """A decrypted JWE: its protected header and its plaintext."""

    header: Mapping[str, Any]
    plaintext: bytes


def decrypt(
    token: str,
    find_key: Callable[[dict[str, Any]], JweKey],
    *,
    algorithms: tuple[str, ...],
    encryption: str = CONTENT_ENCRYPTION,
    limit: int = MAX_SEALED,
) -> Jwe:
    """Decrypt one compact JWE strictly (RFC 7516 section 5.2).

    `algorithms` and `encryption` are the caller's allow-list; the header must name one of them.
    `find_key` gets the parsed header. Raises `TokenError`.
    """
    segments = split(token, 5, limit)
    if len(segments[0]) > MAX_HEADER:
        raise TooLarge("the header", len(segments[0]), MAX_HEADER)
    decoded = [base64url.decode(segment) for segment in segments]
    header = strict_json.loads_object(decoded[0])
    refused = _REFUSED_HEADERS.intersection(header)
    if refused:
        raise HeaderRefused(f"header member {min(refused)!r} is refused")
    if header.get("alg") not in algorithms or header.get("enc") != encryption:
        raise AlgorithmRefused("the header names an algorithm outside the allow-list")
    key = find_key(header)
    try:
        opened = jwe.decrypt_compact(token, key, algorithms=[header["alg"], encryption])
    except (JoseError, ValueError, TypeError, KeyError):
        # Which step failed is nobody's business: RFC 7516 section 11.5.
        raise BadSignature("the token does not decrypt") from None
    return Jwe(header, opened.plaintext or b"")


@dataclass(frozen=True, slots=True)
class Recipient:
    """An audience's registered encryption key: a public JWK on P-256 or X25519."""

    kid: str
    alg: str
    key: ECKey | OKPKey

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> Recipient:
        """Read a JWK with `kid`, and `alg` (default ECDH-ES+A256KW).

        Raises `InvalidClaim` naming what is wrong with it. A private JWK makes a recipient that
        can also open.
        """
        kid = jwk.get("kid")
        alg = jwk.get("alg", AGREEMENT_ALGORITHMS[0])
        if not isinstance(kid, str) or not kid:
            raise InvalidClaim("kid", "of an encryption key is missing")
        if alg not in AGREEMENT_ALGORITHMS:
            raise InvalidClaim("alg", f"of an encryption key is not one of {AGREEMENT_ALGORITHMS}")
        members = {name: value for name, value in jwk.items() if name != "use"}
        try:
            if (jwk.get("kty"), jwk.get("crv")) == ("EC", "P-256"):
                return cls(kid, alg, ECKey.import_key(members))
            if (jwk.get("kty"), jwk.get("crv")) == ("OKP", "X25519"):
                _require_own_public_half(members)
                return cls(kid, alg, OKPKey.import_key(members))
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, Malformed):
            raise InvalidClaim("jwk", "is not a valid encryption key") from None
        raise InvalidClaim("crv", "of an encryption key is neither P-256 nor X25519")


def _require_own_public_half(jwk: Mapping[str, Any]) -> None:
    """Raise `ValueError` for an X25519 key whose `x` is not its `d`'s; for P-256 joserfc looks."""
    if "d" in jwk:
        private = X25519PrivateKey.from_private_bytes(base64url.decode(jwk["d"].encode()))
        if private.public_key().public_bytes_raw() != base64url.decode(jwk["x"].encode()):
            raise ValueError("the halves of the key are of two keys")


def seal(token: str, recipient: Recipient) -> str:
    """Encrypt a signed token for one audience (RFC 7519 section 11.2: sign, then encrypt)."""
    header = {
        "alg": recipient.alg,
        "enc": CONTENT_ENCRYPTION,
        "cty": "JWT",  # RFC 7519 section 5.2
        "kid": recipient.kid,
    }
    return jwe.encrypt_compact(
        header, token, recipient.key, algorithms=[recipient.alg, CONTENT_ENCRYPTION]
    )


def unseal(token: str, recipients: Mapping[str, Recipient]) -> str:
    """Decrypt a sealed token; returns the signed token inside, still to be verified.

    `recipients` maps `kid` to own (private) keys. Raises `TokenError`.
    """

    def find(header: dict[str, Any]) -> JweKey:
        kid = header.get("kid")
        recipient = recipients.get(kid) if isinstance(kid, str) else None
        if recipient is None:
            raise UnknownKid(str(kid))
        if header["alg"] != recipient.alg:  # RFC 8725 section 3.1: one key, one algorithm
            raise AlgorithmRefused("the header names another algorithm than the key's")
        return recipient.key

    opened = decrypt(token, find, algorithms=AGREEMENT_ALGORITHMS)
    if opened.header.get("cty") != "JWT":
        raise WrongType("the sealed content is not marked as a JWT")
    try:
        return opened.plaintext.decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("the sealed content is not a compact token") from None


def is_sealed(token: str) -> bool:
    """Whether a token has the form of a sealed access token, whoever can open it."""
    try:
        header = strict_json.loads_object(base64url.decode(split(token, 5, MAX_SEALED)[0]))
    except TokenError:
        return False
    return header.get("cty") == "JWT"


class RefreshSealer:
    """Makes and opens refresh tokens, which only the issuer can read."""

    def __init__(self, issuer: str, ring: Callable[[], KeyRing]) -> None:
        """`ring` returns the current key ring; its sealing key makes, every one of them opens."""
        self._issuer = issuer
        self._ring = ring

    def mint(self, claims: RefreshClaims) -> str:
        """A token for `claims`, under a fresh random IV each time (NIST SP 800-38D, 8.2.2).

        Raises `keys.NoActiveKey`.
        """
        key = self._ring().sealing()
        header = {
            "alg": "dir",
            "enc": CONTENT_ENCRYPTION,
            "typ": REFRESH_TYPE,
            "kid": key.kid,
        }
        return jwe.encrypt_compact(
            header,
            strict_json.dumps(claims.to_payload()),
            _oct_key(key.private),
            algorithms=["dir", CONTENT_ENCRYPTION],
        )

    def open(self, token: str, now: float) -> RefreshClaims:
        """The claims of an authentic, unexpired refresh token of ours. Raises `TokenError`."""
        opened = decrypt(token, self._find, algorithms=("dir",), limit=MAX_REFRESH)
        if opened.header.get("typ") != REFRESH_TYPE:
            raise WrongType("not a refresh token")
        claims = RefreshClaims.from_payload(strict_json.loads_object(opened.plaintext))
        if claims.iss != self._issuer:
            raise WrongIssuer("another issuer's refresh token")
        if now >= claims.exp:
            raise Expired(claims.exp, now)
        return claims

    def _find(self, header: dict[str, Any]) -> JweKey:
        kid = header.get("kid")
        try:
            key = self._ring().get(str(kid))
        except UnknownKey:
            raise UnknownKid(str(kid)) from None
        return _oct_key(key.private)


def _oct_key(secret: object) -> OctKey:
    if not isinstance(secret, bytes):
        raise UnknownKid("a signing key does not open refresh tokens")
    return _import_oct(secret)


@lru_cache(maxsize=64)
def _import_oct(secret: bytes) -> OctKey:
    return OctKey.import_key(secret)
