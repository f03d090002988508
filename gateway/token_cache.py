"""Tokens that have been verified before: a signature is checked once, not for each request."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from hashlib import sha256
from types import MappingProxyType

from revocation import NO_PROBE, Candidate
from tokens import AccessClaims, VerificationKey

DEFAULT_CACHE_SIZE = 8192
"""Tokens. One takes about 2 KB."""


class VerifiedToken(Candidate):
    """What was found out about a token, and when and under which key it holds."""

    __slots__ = ("key", "since", "until")

    claims: AccessClaims

    def __init__(self, claims: AccessClaims, key: VerificationKey, leeway: int) -> None:
        # As `Candidate` does: calling it would cost as much again.
        self.claims = claims
        self.kid = key.kid
        self.probe = NO_PROBE
        self.passed_by = None
        self.passed_at = -1
        self.key = key
        self.since = max(claims.iat, claims.auth_time, claims.extra.get("nbf", 0)) - leeway
        """Seconds; the clock may be put back to before the token."""
        self.until = claims.exp + leeway
        """Seconds; at this moment it is expired (RFC 7519 section 4.1.4)."""

    def own_claims(self) -> AccessClaims:
        """Claims in which a caller can change nothing that another one gets."""
        claims = self.claims
        if not claims.extra:
            return claims
        return replace(claims, extra=MappingProxyType(deepcopy(dict(claims.extra))))


class TokenCache:
    """Holds about `size` tokens at most, by digest: the tokens themselves are not kept in memory.

    Two generations: what is new goes into the young one; once that is half of the size, it becomes
    the old one and the old one is dropped. Nobody takes a lock: of two threads that change
    generations at once one may drop what the other has just put in, which costs a signature check.
    """

    def __init__(self, size: int) -> None:
        self._half = (size + 1) // 2
        self._young: dict[bytes, VerifiedToken] = {}
        self._old: dict[bytes, VerifiedToken] = {}

    def get(self, digest: bytes) -> VerifiedToken | None:
        return self._young.get(digest) or self._get_old(digest)

    def _get_old(self, digest: bytes) -> VerifiedToken | None:
        found = self._old.get(digest)
        if found is not None:
            self.put(digest, found)  # it is in use: it survives the next change
        return found

    def put(self, digest: bytes, token: VerifiedToken) -> None:
        young = self._young
        if len(young) >= self._half:
            self._old = young
            self._young = young = {}
        young[digest] = token

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())


def digest_of(token: str) -> bytes:
    """SHA-256 of the whole token, so that no other spelling or signature passes for it.

    Raises `UnicodeEncodeError` for what is no ASCII.
    """
    return sha256(token.encode("ascii")).digest()
