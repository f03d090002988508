"""Tokens that have been verified before: a signature is checked once, not for each request."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from types import MappingProxyType

from revocation import NOT_IDENTIFIED, Candidate
from tokens import AccessClaims, VerificationKey

DEFAULT_CACHE_SIZE = 8192
"""Tokens. One takes about 2 KB."""


class VerifiedToken(Candidate):
    """What was found out about a token, and when and under which key it holds."""

    __slots__ = ("holds_from", "holds_until", "key")

    claims: AccessClaims

    def __init__(self, claims: AccessClaims, key: VerificationKey, leeway: int) -> None:
        # As `Candidate` does: calling it would cost as much again.
        self.claims = claims
        self.kid = key.kid
        self.identified = NOT_IDENTIFIED
        self.passed_by = None
        self.passed_at = -1
        self.key = key
        started = claims.iat if claims.iat >= claims.auth_time else claims.auth_time
        if claims.extra:
            started = max(started, claims.extra.get("nbf", 0))
        # Floating, as what a clock says: to compare that with a whole number takes twice as long.
        self.holds_from = float(started - leeway)
        """Seconds: before it, which the clock may be put back to, it does not hold."""
        self.holds_until = float(claims.exp + leeway)
        """Seconds: from then on it is over (RFC 7519 section 4.1.4)."""

    def own_claims(self) -> AccessClaims:
        """Claims with `extra` in which a caller can change nothing that another one gets."""
        claims = self.claims
        return replace(claims, extra=MappingProxyType(deepcopy(dict(claims.extra))))


class TokenCache(dict[bytes, VerifiedToken]):
    """Holds about `size` tokens at most, by SHA-256: the tokens themselves are not kept in memory.

    Two generations: what is new goes into the young one, which is this dictionary; once that is
    half of the size, it becomes the old one and the old one is dropped. Nobody takes a lock: of two
    threads that change generations at once one may drop what the other has just put in, which costs
    a signature check.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._half = (size + 1) // 2
        self._old: dict[bytes, VerifiedToken] = {}

    def from_before(self, digest: bytes) -> VerifiedToken | None:
        """What the old generation holds and this one does not."""
        found = self._old.get(digest)
        if found is not None:
            self.put(digest, found)  # it is in use: it survives the next change
        return found

    def put(self, digest: bytes, token: VerifiedToken) -> None:
        if len(self) >= self._half:
            self._old = self.copy()
            self.clear()
        self[digest] = token

    @property
    def held(self) -> int:
        """How many tokens it holds."""
        return len(self.keys() | self._old.keys())
