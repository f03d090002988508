"""What a verifier tells Prometheus of its replica and keys."""

from __future__ import annotations

import asyncio
import secrets
import time

import pytest
from harness.processes import until
from harness.redis_server import RedisServer
from harness.token_source import TokenSource
from prometheus_client import CollectorRegistry

from gateway import Verifier
from gateway.metrics import VerifierMetrics
from revocation import Entry, ReplicaStale, StalePolicy, open_denylist
from tokens import TokenError

HEARTBEAT = 0.1


def sample(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = registry.get_sample_value(f"gatepass_{name}", labels)
    assert found is not None, name
    return found


def test_latency_and_staleness_are_told(redis_server: RedisServer) -> None:
    """Before it follows nobody knows how old it is; each revocation is then timed once."""
    redis_server.reset()
    denylist = open_denylist(redis_server.unix_url)
    denylist.initialise(0)
    denylist.mark_ready()
    verifier = Verifier(
        issuer="http://127.0.0.1:1",
        audience="api",
        denylist=redis_server.unix_url,
        heartbeat_interval=HEARTBEAT,
        max_staleness=5.0,
    )
    registry = CollectorRegistry()
    registry.register(VerifierMetrics(verifier))
    assert sample(registry, "replica_staleness_seconds") == float("inf")
    assert sample(registry, "replica_in_step") == 0
    assert sample(registry, "keys_ready") == 0
    with verifier:
        for _ in until(10, "the replica to be in step"):
            denylist.heartbeat(0)
            if sample(registry, "replica_in_step") == 1:
                break
        for _ in range(5):
            denylist.add([Entry.session(secrets.token_urlsafe(16), int(time.time()) + 60)])
        for _ in until(10, "five revocations"):
            if sample(registry, "replica_entries") == 5:
                break
        assert sample(registry, "replica_staleness_seconds") == pytest.approx(
            verifier.replica.staleness(), abs=HEARTBEAT
        )
        assert sample(registry, "revocation_latency_seconds_count") == 5
        assert sample(registry, "revocation_latency_seconds_bucket", le="+Inf") == 5
    denylist.close()


def test_each_verification_is_counted_once(source: TokenSource) -> None:
    """Also one that begins on the event loop and is left to a thread that waits for the issuer."""
    verifier = Verifier(
        issuer=source.url, audience="api", denylist=source.denylist_url, heartbeat_interval=0.25
    )
    registry = CollectorRegistry()
    registry.register(VerifierMetrics(verifier))
    good, expired = source.token(), source.token(exp=int(time.time()) - 3600)
    unknown = TokenSource(source.denylist_url).token(iss=source.url)

    def count(outcome: str) -> float:
        return registry.get_sample_value("gatepass_verifications_total", {"outcome": outcome}) or 0

    # Without a copy every policy but `ask` refuses, and that asks for a copy, too.
    with pytest.raises(ReplicaStale):
        asyncio.run(verifier.averify(good, StalePolicy.ASK))
    assert count("replica_stale") == 1
    with verifier:
        assert verifier.replica.wait_in_step(20)
        verifier.verify(good)
        asyncio.run(verifier.averify(good))
        for token in (expired, unknown):
            with pytest.raises(TokenError):
                verifier.verify(token)
            with pytest.raises(TokenError):
                asyncio.run(verifier.averify(token))
    assert [count(one) for one in ("allowed", "expired", "unknown_kid")] == [2, 2, 2]
    assert count("replica_stale") == 1
