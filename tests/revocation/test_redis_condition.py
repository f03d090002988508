"""What a Redis says of itself: its replicas as it sees them, and what an account may not read."""

from __future__ import annotations

import time

import pytest
from harness.processes import until
from harness.redis_server import RedisServer

from revocation import DenylistUnavailable
from revocation.redis_condition import conditions


def test_a_replica_is_seen_and_missed(private_redis: RedisServer) -> None:
    """Online with its lag; gone once it is."""
    master = private_redis.tcp_url
    assert conditions(master)[0].replicas == ()
    copying = {"replicaof": f"127.0.0.1 {private_redis.port}", "appendonly": "no"}
    with RedisServer(config={**copying, "shutdown-timeout": "0"}):
        for _ in until(20, "the replica"):
            links = conditions(master)[0].replicas
            if [link.online for link in links] == [True]:
                break
        assert links[0].lag <= 2
    for _ in until(20, "its end"):
        if conditions(master)[0].replicas == ():
            break


def test_a_server_tells_its_clock_and_its_durability(redis_server: RedisServer) -> None:
    """The configuration is asked for only where that is wanted: an account may be refused it."""
    redis_server.reset()
    (plain,) = conditions(redis_server.unix_url)
    (full,) = conditions(redis_server.unix_url, configured=True)
    assert (plain.synchronises, full.synchronises) == (None, "always")
    assert abs(full.time - time.time()) < 2
    assert full.version >= (7, 0)
    assert full.keeps_log
    assert full.log_is_sound
    with pytest.raises(DenylistUnavailable):
        conditions("redis://127.0.0.1:1/0")
