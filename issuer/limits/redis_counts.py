"""Counts in the families' Redis."""

from __future__ import annotations

import time
from collections.abc import Sequence

import redis
from limits.storage.redis import RedisStorage

from revocation.redis_circuit import Circuits
from revocation.redis_client import Link, connect

from .errors import LimitsUnavailable
from .known_networks import KNOWN_FOR, MOST_KNOWN, KnownNetworks


class RedisCounts(RedisStorage):
    """Implements `Counts`: the storage of `limits`, on a client of ours.

    Our client is the translation of addresses: `limits` builds one from a URL too, but knows no
    `rediss+sentinel` or `rediss+cluster`, no user of the sentinels, and no bounded waiting. Every
    script of its fixed windows has one key, so a Cluster runs them as they are.
    """

    # Reached by its constructor alone, under no address.
    STORAGE_SCHEME = ()  # type: ignore[assignment]

    def __init__(self, url: str, *, namespace: str) -> None:
        """Raises `DenylistUnavailable` where a Cluster does not answer."""
        super(RedisStorage, self).__init__(url)
        self.key_prefix = f"{namespace}:limits"
        self.target_server = "redis"
        self.storage = connect(url)
        self._link = Link(self.storage, LimitsUnavailable, Circuits.shared(url))
        self.initialize_storage(url)
        self.networks: KnownNetworks = RedisKnownNetworks(self.storage, self._link, self.key_prefix)

    @property
    def base_exceptions(self) -> type[Exception]:
        return LimitsUnavailable

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        with self._link.use(self.prefixed_key(key)):
            return int(super().incr(key, expiry, amount))

    def get(self, key: str) -> int:
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[str]) -> list[int]:
        names = [self.prefixed_key(key) for key in keys]
        with self._link.use(names[0]):
            # Not MGET: on a Cluster the keys lie on different nodes.
            pipeline = self.storage.pipeline(transaction=False)
            for name in names:
                pipeline.get(name)
            return [int(found or 0) for found in pipeline.execute()]

    def get_expiry(self, key: str) -> float:
        # In milliseconds, unlike what it replaces: `Retry-After` is a promise.
        name = self.prefixed_key(key)
        with self._link.use(name):
            left = self.storage.pttl(name)
        return time.time() + max(int(left), 0) / 1000

    def clear(self, key: str) -> None:
        with self._link.use(self.prefixed_key(key)):
            super().clear(key)

    def close(self) -> None:
        """Release connections."""
        self.storage.close()


class RedisKnownNetworks:
    """Implements `KnownNetworks`: for each account a sorted set of digests by time of use."""

    def __init__(self, client: redis.Redis, link: Link, prefix: str) -> None:
        self._client = client
        self._link = link
        self._prefix = prefix

    def _key(self, account: str) -> str:
        return f"{self._prefix}:known:{account}"

    def is_known(self, account: str, network: str) -> bool:
        key = self._key(account)
        with self._link.use(key):
            seen = self._client.zscore(key, network)
        return seen is not None and time.time() - float(seen) < KNOWN_FOR

    def remember(self, account: str, network: str) -> None:
        key = self._key(account)
        with self._link.use(key):
            pipeline = self._client.pipeline(transaction=False)
            pipeline.zadd(key, {network: time.time()})
            pipeline.zremrangebyrank(key, 0, -MOST_KNOWN - 1)
            pipeline.expire(key, KNOWN_FOR)
            pipeline.execute()
