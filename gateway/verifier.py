"""What a gateway runs: verifies tokens by itself, revocation included."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Self

from revocation import (
    DEFAULT_HEARTBEAT_INTERVAL,
    DEFAULT_MAX_STALENESS,
    MOST_ENTRIES,
    Denylist,
    Replica,
    ReplicaStale,
    StalePolicy,
    open_denylist,
)
from tokens import DEFAULT_LEEWAY, AccessClaims, AccessVerifier, Recipient
from tokens.compact import to_ascii

from .bearer import bearer_token
from .errors import Refusable
from .feed_signature import FeedSignature
from .fetching import Fetch, fetch_json
from .jwks import JwksClient, WouldWait
from .requirement import Requirement
from .token_cache import DEFAULT_CACHE_SIZE, TokenCache, VerifiedToken
from .waiting import WaitingThreads

DEFAULT_MAX_LIFETIME = 3600


class Verifier:
    """Verifies access tokens against cached keys and a local replica of the denylist.

    `with Verifier(...) as verifier:` or `start()` begins to follow the denylist and to fetch keys
    ahead of their expiry; a preforking server starts it in each worker.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        denylist: str | Denylist,
        namespace: str = "gatepass",
        recipients: Mapping[str, Recipient] | None = None,
        require_sealed: bool = False,
        leeway: int = DEFAULT_LEEWAY,
        max_lifetime: int = DEFAULT_MAX_LIFETIME,
        max_staleness: float = DEFAULT_MAX_STALENESS,
        heartbeat_interval: float = DEFAULT_HEARTBEAT_INTERVAL,
        policy: StalePolicy = StalePolicy.CLOSED,
        shared: str | Path | None = None,
        most_entries: int = MOST_ENTRIES,
        cache_size: int = DEFAULT_CACHE_SIZE,
        fetch: Fetch = fetch_json,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`denylist` is a URL or an open one; durations in seconds. Raises `BadDenylistUrl`, and
        `ValueError` where `max_staleness` is less than two heartbeat intervals.

        `leeway` is 60 at most, which is how long denylist entries outlive tokens.
        `shared` is a file that the processes of this host map, `most_entries` how many revocations
        a replica takes in before it ages (docs/replica.md).
        `recipients`: own decryption keys by `kid`, for sealed tokens; with `require_sealed` no
        others are taken. `cache_size` is how many verified tokens are remembered, about; 0 for
        none.
        """
        self._keys = JwksClient(issuer, fetch=fetch)
        self._denylist = (
            open_denylist(
                denylist,
                namespace=namespace,
                verify=FeedSignature(issuer, self._keys.find),
                most_entries=most_entries,
            )
            if isinstance(denylist, str)
            else denylist
        )
        self._replica = Replica(
            self._denylist,
            max_staleness=max_staleness,
            heartbeat_interval=heartbeat_interval,
            policy=policy,
            shared=None if shared is None else Path(shared),
            owner=f"{namespace} {denylist if isinstance(denylist, str) else type(denylist)}",
            most=most_entries,
        )
        self._max_staleness = max_staleness
        self._policy = policy
        self._leeway = leeway
        self._clock = clock
        self._cache = TokenCache(cache_size) if cache_size > 0 else None
        self._tokens, self._tokens_at_once = (
            AccessVerifier(
                issuer=issuer,
                audience=audience,
                find_key=find_key,
                recipients=recipients,
                require_sealed=require_sealed,
                leeway=leeway,
                max_lifetime=max_lifetime,
                clock=clock,
            )
            for find_key in (self._keys.find, self._keys.find_at_once)
        )
        self._waiting = WaitingThreads()
        self.passed = 0
        """Tokens that passed, in this process."""
        self.refusals: dict[str, int] = {}
        """Tokens that did not, by the error's code."""

    @property
    def replica(self) -> Replica:
        return self._replica

    @property
    def keys(self) -> JwksClient:
        return self._keys

    @property
    def in_step(self) -> bool:
        """Whether the replica is young enough to be gone by."""
        return self._replica.staleness() <= self._max_staleness

    def require(self, requirement: Requirement, claims: AccessClaims) -> None:
        """Hold a verified token against what a route asks of it, now.

        Raises `InsufficientAuthentication`, `InsufficientScope`.
        """
        requirement.check(claims, self._clock(), self._leeway)

    # A token.

    def verify(self, token: str, policy: StalePolicy | None = None) -> AccessClaims:
        """The claims of a token that is valid and not revoked.

        `policy` overrides what happens while the replica is too old. Raises `tokens.TokenError`,
        `revocation.TokenRevoked`, `revocation.ReplicaStale`, `revocation.DenylistUnavailable`,
        `KeysUnavailable`.
        """
        try:
            verified = self._verified(token, self._tokens)
            self._replica.check_candidate(verified, policy)
        except Refusable as error:
            self._count_refusal(error.code)
            raise
        self.passed += 1
        claims = verified.claims
        return verified.own_claims() if claims.extra else claims

    async def averify(self, token: str, policy: StalePolicy | None = None) -> AccessClaims:
        """As `verify`, without ever blocking the event loop.

        What takes processor time alone is done at once; what has to wait for the issuer or the
        denylist waits in a thread.
        """
        try:
            verified = self._verified(token, self._tokens_at_once)
            if (policy or self._policy) is StalePolicy.ASK:
                self._replica.check_candidate(verified, StalePolicy.CLOSED)
            else:
                self._replica.check_candidate(verified, policy)
        except WouldWait:
            return await self._waiting.run(self.verify, token, policy)
        except Refusable as error:
            if isinstance(error, ReplicaStale) and (policy or self._policy) is StalePolicy.ASK:
                return await self._waiting.run(self.verify, token, policy)
            self._count_refusal(error.code)
            raise
        self.passed += 1
        claims = verified.claims
        return verified.own_claims() if claims.extra else claims

    def _count_refusal(self, code: str) -> None:
        self.refusals[code] = self.refusals.get(code, 0) + 1

    def _verified(self, token: str, tokens: AccessVerifier) -> VerifiedToken:
        """The token, all but revocation checked: from the cache if it is still as it was then."""
        cache, keys, text = self._cache, self._keys, to_ascii(token)
        if cache is None:
            claims, key = tokens.verify_and_find_key(text)
            return VerifiedToken(claims, key, self._leeway)
        # Of the whole token, so that no other spelling or signature passes for it.
        digest = sha256(text).digest()
        verified = cache.get(digest) or cache.from_before(digest)
        if (
            verified is None
            or not verified.holds_from <= self._clock() < verified.holds_until
            or not (
                # What `find` looks at first; to call it takes twice as long.
                (keys.clock() < keys.fresh_until and keys.cached.get(verified.kid) is verified.key)
                # Another key of this `kid` does not do; where there is none, this raises.
                or tokens.find_key(verified.kid) is verified.key
            )
        ):
            claims, key = tokens.verify_and_find_key(text)
            verified = VerifiedToken(claims, key, self._leeway)
            cache.put(digest, verified)
        return verified

    # A request.

    def verify_header(
        self,
        authorization: str | Sequence[str] | None,
        policy: StalePolicy | None = None,
    ) -> AccessClaims:
        """As `verify`, for an `Authorization` header (RFC 6750 section 2.1), or all there are.

        Raises `TokenRequired` where it holds no bearer token, `RequestRefused` where it holds more
        than one.
        """
        return self.verify(bearer_token(authorization), policy)

    async def averify_header(
        self,
        authorization: str | Sequence[str] | None,
        policy: StalePolicy | None = None,
    ) -> AccessClaims:
        """As `verify_header`, without ever blocking the event loop."""
        return await self.averify(bearer_token(authorization), policy)

    # Life.

    def start(self) -> None:
        """Follow the denylist, and keep the keys fresh, from threads of this process."""
        self._replica.start()
        self._keys.start()

    def stop(self) -> None:
        self._keys.stop()
        self._replica.stop()
        self._waiting.stop()
        self._denylist.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
