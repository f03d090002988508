"""Redis: what it would drop, what it would lose, and who could listen."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from revocation import DenylistUnavailable
from revocation.redis_condition import Condition, conditions

from .deployment import Deployment, is_local
from .finding import Finding, fail, ok, unknown, warn

LEAST = (7, 0)
CONFIRMS = (7, 2)
"""Since when there is `WAITAOF`."""
FULL = 0.8
"""Of `maxmemory`."""
SILENT = 10.0
"""Seconds for which a replica may not have been heard of."""


def redis_servers(deployment: Deployment) -> Iterator[Finding]:
    """Each of them: version, eviction, room, durability, replicas."""
    for name, url in deployment.redis_urls.items():
        if url.startswith("memory:"):
            yield warn(
                name,
                "memory:// is one process's own",
                "sessions and revocations are lost with it, and no gateway can follow",
                "run a Redis, and name it in this setting",
            )
            continue
        try:
            found = conditions(url, configured=True)
        except DenylistUnavailable as error:
            yield fail(
                name,
                str(error),
                "logins and refreshes answer 503, and gateways refuse once their copies are old",
                "start it, or correct the setting; docs/operations/runbooks.md#redis-is-down",
            )
            continue
        wanted = deployment.settings.redis_replicas if url == deployment.settings.denylist else 0
        for condition in found:
            yield from _of(name, condition, wanted)


def _of(name: str, one: Condition, replicas: int) -> Iterator[Finding]:
    version = ".".join(map(str, one.version))
    if one.version < LEAST:
        yield fail(f"{name}:version", version, "7.0 is needed", "upgrade Redis")
    else:
        yield ok(f"{name}:version", version)
    yield _eviction(name, one)
    yield from _room(name, one)
    yield from _durability(name, one)
    yield from _replicas(name, one, replicas)


def _eviction(name: str, one: Condition) -> Finding:
    check = f"{name}:eviction"
    if one.eviction == "noeviction":
        return ok(check, "maxmemory-policy is noeviction")
    return fail(
        check,
        f"maxmemory-policy is {one.eviction}",
        "a full Redis drops entries: a revoked token is good again, a session is gone",
        "CONFIG SET maxmemory-policy noeviction, and in redis.conf",
    )


def _room(name: str, one: Condition) -> Iterator[Finding]:
    if one.memory_limit and one.memory > FULL * one.memory_limit:
        yield warn(
            f"{name}:memory",
            f"{one.memory / one.memory_limit:.0%} of maxmemory is used",
            "a full Redis takes no login and no revocation",
            "raise maxmemory; docs/operations/runbooks.md#redis-is-nearly-full",
        )


def _durability(name: str, one: Condition) -> Iterator[Finding]:
    check = f"{name}:durability"
    if not one.keeps_log:
        yield fail(
            check,
            "appendonly is no",
            "a restart loses every session; gateways refuse until the journal is replayed",
            "CONFIG SET appendonly yes, and in redis.conf",
        )
        return
    if not one.log_is_sound:
        yield fail(
            check,
            "the last write to the append-only file has failed",
            "what it takes now is lost at a restart; it may refuse to write at all",
            "look for a full or broken disk, and at its log",
        )
    elif not one.log_is_rewritten:
        yield warn(
            check,
            "the last rewrite of the append-only file has failed",
            "it grows until the disk is full, and a restart takes longer and longer",
            "make room on the disk and for its fork, look at its log, then: redis-cli BGREWRITEAOF",
        )
    if one.synchronises is None:
        yield unknown(
            check,
            "appendfsync may not be read by this account",
            "with another value than always a crash loses what was just acknowledged",
            "ask an administrator: redis-cli CONFIG GET appendfsync",
        )
    elif one.synchronises != "always":
        confirmed = one.version >= CONFIRMS
        yield warn(
            check,
            f"appendfsync is {one.synchronises}",
            "a crash loses sessions of the last second"
            + ("" if confirmed else ", and revocations until the journal is replayed"),
            "CONFIG SET appendfsync always, and in redis.conf",
        )
    elif one.log_is_sound and one.log_is_rewritten:
        yield ok(check, "every write is on disk before its answer")


def _replicas(name: str, one: Condition, wanted: int) -> Iterator[Finding]:
    check = f"{name}:replicas"
    online = [link for link in one.replicas if link.online]
    if len(online) < wanted:
        yield fail(
            check,
            f"{len(online)} of redis_replicas = {wanted} are online",
            "no revocation is acknowledged: each answers 503",
            "start the replicas, or lower redis_replicas",
        )
    elif any(link.lag > SILENT for link in online):
        yield warn(
            check,
            f"one was last heard of {max(link.lag for link in online):.0f} s ago",
            "gateways that read from it grow old, and a failover to it loses what it lacks",
            "look at its log and at the line to it",
        )
    elif online:
        yield ok(check, f"{len(online)} online")


def redis_line(deployment: Deployment) -> Iterator[Finding]:
    """Whether what goes to Redis can be read on its way (ASVS 12.3.1)."""
    for name, url in deployment.redis_urls.items():
        parts = urlsplit(url)
        check = f"{name}:tls"
        named = parts.netloc.rpartition("@")[2].split(",")
        hosts = {urlsplit(f"//{part}").hostname for part in named}
        if parts.scheme in {"unix", "memory"} or all(map(is_local, hosts)):
            continue
        if parts.scheme.startswith("rediss"):
            yield ok(check, "over TLS")
            continue
        told = (
            "plain TCP to another machine",
            "whoever is in between reads session ids and the password, and can revoke",
            "use rediss:// (docs/deployment.md#tls)",
        )
        yield fail(check, *told) if deployment.is_production else warn(check, *told)
