"""How a Redis server says that it is: version, memory, durability, replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from redis.cluster import RedisCluster

from .errors import DenylistUnavailable
from .redis_client import connect, unavailable_as


@dataclass(frozen=True, slots=True)
class ReplicaLink:
    """A read replica, as its master sees it."""

    online: bool
    lag: float
    """Seconds since it was last heard of."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Of one server that takes writes. What it does not say, or may not, is None."""

    version: tuple[int, ...]
    eviction: str
    memory: int
    """Bytes."""
    memory_limit: int
    """Bytes; 0 for none."""
    keeps_log: bool
    """Whether it has an append-only file."""
    log_is_sound: bool
    """Whether what it last wrote to that file was written."""
    log_is_rewritten: bool
    """Whether its last attempt to make that file smaller came to an end."""
    synchronises: str | None
    """`appendfsync`; only an administrator may read the configuration."""
    replicas: tuple[ReplicaLink, ...]
    time: float
    """Seconds since the epoch, by its clock."""


def conditions(url: str, *, configured: bool = False) -> list[Condition]:
    """Of the server behind an address, or of each master of a Cluster.

    `configured` asks for `appendfsync` too, which an issuer's own account may not and which then
    shows in the server's ACL log. Raises `DenylistUnavailable`.
    """
    with unavailable_as(DenylistUnavailable), connect(url) as connected:
        client: Any = connected
        if isinstance(client, RedisCluster):
            nodes = client.get_primaries()  # type: ignore[no-untyped-call]
            return [_of(client.get_redis_connection(node), configured) for node in nodes]
        return [_of(client, configured)]


def _of(client: Any, configured: bool) -> Condition:  # noqa: FBT001
    info: Mapping[str, Any] = client.info()
    seconds, microseconds = client.time()
    synchronises = _synchronises(client) if configured else None
    return condition_of(info, seconds + microseconds / 1e6, synchronises)


def condition_of(info: Mapping[str, Any], time: float, synchronises: str | None) -> Condition:
    """What `INFO` says, as redis-py reads it."""
    return Condition(
        version=tuple(int(part) for part in _version(info).split(".")[:3]),
        eviction=str(info.get("maxmemory_policy", "noeviction")),
        memory=int(info.get("used_memory", 0)),
        memory_limit=int(info.get("maxmemory", 0)),
        keeps_log=bool(info.get("aof_enabled")),
        log_is_sound=info.get("aof_last_write_status", "ok") == "ok",
        log_is_rewritten=info.get("aof_last_bgrewrite_status", "ok") == "ok",
        synchronises=synchronises,
        replicas=tuple(
            ReplicaLink(link.get("state") == "online", float(link.get("lag", 0)))
            for name, link in info.items()
            if name.startswith("slave") and isinstance(link, Mapping)
        ),
        time=time,
    )


def _version(info: Mapping[str, Any]) -> str:
    """Its own; a Valkey calls itself a Redis 7.2 for the sake of old clients."""
    return str(info.get("redis_version", "0"))


def _synchronises(client: Any) -> str | None:
    try:
        # This one value: the whole configuration has passwords in it.
        found = client.config_get("appendfsync")
    except redis.ResponseError:
        return None
    value = found.get("appendfsync", found.get(b"appendfsync"))
    return value.decode() if isinstance(value, bytes) else value
