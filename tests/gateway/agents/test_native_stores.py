"""Gateways that check tokens themselves, whose agents follow a Redis that loses what it had.

Each asserts the guarantee, `max_staleness`, as tests/gateway/test_bound.py does for a verifier.
"""

from __future__ import annotations

import time

import pytest
from harness.native_deployment import Deployment, deployed, deployed_on, refused
from harness.native_gateways import GATEWAYS, MAX_STALENESS, asked_all_along
from harness.processes import monotonic
from harness.redis_sentinel import RedisSentinel
from harness.redis_server import RedisServer
from harness.slow_proxy import SlowProxy

FEED = "gatepass:{denylist}:feed"


def known(deployment: Deployment, *tokens: str) -> None:
    for token in tokens:
        deployment.waits_for(200, token, 30)


@pytest.mark.parametrize("kind", GATEWAYS)
def test_the_feed_is_trimmed(kind: str) -> None:
    """While the agent sleeps the feed goes on without what it has not read: it reads a snapshot."""
    with deployed(kind) as deployment:
        live, first, second = (deployment.token() for _ in range(3))
        known(deployment, live, first, second)
        store = deployment.redis.client()
        deployment.agent.process.pause()
        store.client_kill_filter(_type="normal")
        acknowledged = [deployment.revoke_again_and_again(token) for token in (first, second)]
        store.xtrim(FEED, maxlen=1, approximate=False)
        time.sleep(MAX_STALENESS)
        deployment.agent.process.resume()
        for token, since in zip((first, second), acknowledged, strict=True):
            refused(deployment.ends_within_the_bound(401, token, since))
        deployment.waits_for(200, live, 30)
        assert "reading the denylist afresh" in deployment.agent.process.stderr()


@pytest.mark.parametrize("kind", GATEWAYS)
def test_a_failover_loses_what_was_acknowledged(kind: str) -> None:
    """What the gateway refused it refuses; it closes until the new master has the journal."""
    with (
        RedisSentinel() as pair,
        deployed_on(kind, pair.master, pair.url, pair.url) as deployment,
    ):
        live, known_to_it, unknown = (deployment.token() for _ in range(3))
        known(deployment, live, known_to_it, unknown)
        assert pair.master.client().wait(1, 5000) == 1
        pair.hold_replica_back()
        deployment.revoke(known_to_it)
        refused(deployment.waits_for(401, known_to_it))
        with asked_all_along(deployment.gateway, known_to_it) as answers:
            # Lost by the store, and never seen by the agent.
            deployment.agent.process.pause()
            acknowledged = deployment.revoke(unknown)
            pair.lose_master()
            deployment.agent.process.resume()
            pair.wait_promoted()
            refused(deployment.ends_within_the_bound(401, unknown, acknowledged))
            deployment.waits_for(200, live, 60)
        assert set(answers) <= {401, 503}
        for token in (known_to_it, unknown):
            refused(deployment.ask(token))


@pytest.mark.parametrize("kind", GATEWAYS)
def test_a_read_replica_is_cut_off(kind: str) -> None:
    """Its socket to the agent stays up, and it answers: the gateway closes all the same."""
    with RedisServer(tcp=True) as primary, RedisServer(tcp=True) as replica:
        assert primary.port is not None
        with SlowProxy(primary.port) as line:
            replica.follow(line.port)
            follower = replica.client()
            with deployed_on(kind, primary, primary.unix_url, replica.tcp_url, line) as deployment:
                live, revoked = deployment.token(), deployment.token()
                known(deployment, live, revoked)
                line.delay = 600
                cut = monotonic()
                acknowledged = deployment.revoke(revoked)
                deployment.ends_within_the_bound(503, live, cut)
                deployment.ends_within_the_bound(503, revoked, acknowledged)
                assert follower.info("replication")["master_link_status"] == "up"
                line.delay = 0
                follower.replicaof("127.0.0.1", str(primary.port))
                refused(deployment.ends_within_the_bound(401, revoked, acknowledged))
                deployment.waits_for(200, live, 30)
