"""Verifies access tokens: the path that every request of every gateway takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from . import base64url, strict_json, usual_payload
from .claims import AccessClaims
from .compact import (
    parse_header,
    signing_algorithm,
    split_jws,
    to_ascii,
    verify_signature,
)
from .errors import (
    AlgorithmRefused,
    Expired,
    InvalidClaim,
    LifetimeTooLong,
    NotYetValid,
    UnknownKid,
    WrongAudience,
    WrongIssuer,
    WrongType,
)
from .sealing import Recipient, unseal
from .signing import ACCESS_TYPE
from .verification_key import VerificationKey

# RFC 9068 section 4 takes both spellings; RFC 7515 section 4.1.9 makes them case-insensitive.
_ACCESS_TYPES = frozenset({ACCESS_TYPE, f"application/{ACCESS_TYPE}"})
# Headers differ by key alone, so a handful covers a ring; a flood of others only empties it.
_HEADER_CACHE_SIZE = 64

DEFAULT_LEEWAY = 10
MAX_LEEWAY = 60
"""Seconds. Denylist entries outlive tokens by this much, so that no verifier may forgive more."""
DEFAULT_MAX_LIFETIME = 3600


@dataclass(frozen=True, slots=True)
class _Header:
    alg: str
    kid: str


class AccessVerifier:
    """Verifies signature, type and claims of access tokens; revocation is the replica's part."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str | Iterable[str] | None,
        find_key: Callable[[str], VerificationKey],
        recipients: Mapping[str, Recipient] | None = None,
        require_sealed: bool = False,
        leeway: int = DEFAULT_LEEWAY,
        max_lifetime: int = DEFAULT_MAX_LIFETIME,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A token for any one `audience` of those given is accepted; with None, whoever it is for,
        which only the issuer has a use for: it takes back tokens for an audience that is gone.

        `find_key` maps a `kid` to a trusted key or raises `UnknownKid`.

        `recipients` are own decryption keys by `kid`, for sealed tokens; `leeway` and
        `max_lifetime` are in seconds. Raises `ValueError` for a leeway above `MAX_LEEWAY`.
        """
        if not 0 <= leeway <= MAX_LEEWAY:
            raise ValueError(f"leeway must be 0 to {MAX_LEEWAY} seconds")
        self._issuer = issuer
        self._audiences = (
            None
            if audience is None
            else frozenset([audience] if isinstance(audience, str) else audience)
        )
        self.find_key = find_key
        self._recipients = recipients or {}
        self._require_sealed = require_sealed
        self._leeway = leeway
        self._max_lifetime = max_lifetime
        self._clock = clock
        self._headers: dict[bytes, _Header] = {}

    def verify(self, token: str) -> AccessClaims:
        """The claims of a valid access token. Raises `TokenError`.

        RFC 9068 section 4, RFC 8725 section 3, OWASP ASVS 5 chapter V9.
        """
        return self.verify_with_key(token)[0]

    def verify_with_key(self, token: str) -> tuple[AccessClaims, str]:
        """As `verify`, and the `kid` that the token was signed under. Raises `TokenError`."""
        claims, key = self.verify_and_find_key(to_ascii(token))
        return claims, key.kid

    def verify_and_find_key(self, token: bytes) -> tuple[AccessClaims, VerificationKey]:
        """As `verify`, for ASCII, and the key that it was signed under. Raises `TokenError`."""
        if self._recipients and token.count(b".") == 4:
            token = to_ascii(unseal(token.decode("ascii"), self._recipients))
        elif self._require_sealed:
            raise WrongType("this audience takes sealed tokens only")
        signed, header_segment, payload_segment, signature_segment = split_jws(token)
        header = self._headers.get(header_segment) or self._read_header(header_segment)
        key = self.find_key(header.kid)
        if header.alg != key.alg:
            raise AlgorithmRefused("the header names another algorithm than the key's")
        verify_signature(signed, signature_segment, key)
        # Only now is the payload worth parsing (ASVS 9.1.1).
        raw = base64url.decode(payload_segment)
        claims = usual_payload.read(raw)
        if claims is None:
            claims = AccessClaims.from_payload(strict_json.loads_object(raw))
        self.check_claims(claims)
        return claims, key

    def check_claims(self, claims: AccessClaims) -> None:
        """Check who, for whom and when. Raises `TokenError`.

        A token is expired at `exp` plus leeway exactly, and valid at `nbf` less leeway exactly
        (RFC 7519 sections 4.1.4, 4.1.5).
        """
        if claims.iss != self._issuer:
            raise WrongIssuer("another issuer's token")
        if self._audiences is not None and self._audiences.isdisjoint(claims.aud):
            raise WrongAudience("a token for another audience")
        now = self._clock()
        if now >= claims.exp + self._leeway:
            raise Expired(claims.exp, now)
        latest_start = now + self._leeway
        if claims.iat > latest_start:
            raise NotYetValid("issued in the future")
        if not 0 < claims.exp - claims.iat <= self._max_lifetime:
            raise LifetimeTooLong("the token's lifetime is not within the maximum")
        if claims.auth_time > latest_start:
            raise InvalidClaim("auth_time", "is in the future")
        if "nbf" in claims.extra:
            nbf = claims.extra["nbf"]
            if type(nbf) is not int:
                raise InvalidClaim("nbf", "is not a whole number")
            if nbf > latest_start:
                raise NotYetValid("not valid yet")

    def _read_header(self, segment: bytes) -> _Header:
        parsed = parse_header(segment)
        alg = signing_algorithm(parsed)
        typ = parsed.get("typ")
        if not isinstance(typ, str) or typ.lower() not in _ACCESS_TYPES:
            raise WrongType("not an access token")
        kid = parsed.get("kid")
        if not isinstance(kid, str) or not kid:
            raise UnknownKid("")
        header = _Header(alg, kid)
        if len(self._headers) >= _HEADER_CACHE_SIZE:
            self._headers.clear()
        self._headers[segment] = header
        return header
