"""What a gateway runs: verifies tokens by itself, revocation included."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from revocation import (
    DEFAULT_HEARTBEAT_INTERVAL,
    DEFAULT_MAX_STALENESS,
    Denylist,
    Replica,
    StalePolicy,
    open_denylist,
)
from tokens import DEFAULT_LEEWAY, AccessClaims, AccessVerifier, Recipient

from .errors import TokenRequired
from .feed_signature import FeedSignature
from .jwks import Fetch, JwksClient, fetch_json

DEFAULT_MAX_LIFETIME = 3600


class Verifier:
    """Verifies access tokens against cached keys and a local replica of the denylist.

    `with Verifier(...) as verifier:` or `start()` begins to follow the denylist; a preforking
    server starts it in each worker.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        denylist: str | Denylist,
        namespace: str = "gatepass",
        recipients: Mapping[str, Recipient] | None = None,
        leeway: int = DEFAULT_LEEWAY,
        max_lifetime: int = DEFAULT_MAX_LIFETIME,
        max_staleness: float = DEFAULT_MAX_STALENESS,
        heartbeat_interval: float = DEFAULT_HEARTBEAT_INTERVAL,
        policy: StalePolicy = StalePolicy.CLOSED,
        shared: str | Path | None = None,
        fetch: Fetch = fetch_json,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`denylist` is a URL or an open one; durations in seconds.

        `leeway` is 60 at most, which is how long denylist entries outlive tokens.
        `shared` is a file that the processes of this host map (docs/replica.md).
        `recipients`: own decryption keys by `kid`, for sealed tokens.
        """
        self._keys = JwksClient(issuer, fetch=fetch)
        self._denylist = (
            open_denylist(
                denylist, namespace=namespace, verify=FeedSignature(issuer, self._keys.find)
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
            owner=f"{namespace} {denylist}",
        )
        self._max_staleness = max_staleness
        self._tokens = AccessVerifier(
            issuer=issuer,
            audience=audience,
            find_key=self._keys.find,
            recipients=recipients,
            leeway=leeway,
            max_lifetime=max_lifetime,
            clock=clock,
        )

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

    def verify(self, token: str, policy: StalePolicy | None = None) -> AccessClaims:
        """The claims of a token that is valid and not revoked.

        `policy` overrides what happens while the replica is too old. Raises `tokens.TokenError`,
        `revocation.TokenRevoked`, `revocation.ReplicaStale`, `KeysUnavailable`.
        """
        claims, kid = self._tokens.verify_with_key(token)
        self._replica.check(claims, kid, policy)
        return claims

    def verify_header(
        self, authorization: str | None, policy: StalePolicy | None = None
    ) -> AccessClaims:
        """As `verify`, for an `Authorization` header (RFC 6750 section 2.1).

        Raises `TokenRequired` where it holds no bearer token.
        """
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise TokenRequired("the request carries no bearer token")
        return self.verify(token, policy)

    def start(self) -> None:
        """Follow the denylist from a thread of this process."""
        self._replica.start()

    def stop(self) -> None:
        self._replica.stop()
        self._denylist.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
