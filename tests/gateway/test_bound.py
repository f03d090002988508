"""The stated bound: whatever breaks, no gateway takes a token that was revoked before its bound.

Every test but one asserts the guarantee, `max_staleness`: no check that began later than that after
the revocation was acknowledged accepts the token. What is typical, milliseconds, is measured by
`benchmarks/revocation_latency.py` and asserted nowhere. The gateway is a process of its own that
verifies all the tokens hundreds of times a second; the issuer and Redis are real.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from harness.bound import Bound, MakeBound
from harness.namespaces import FAR, TwoHosts
from harness.processes import until
from harness.redis_sentinel import RedisSentinel
from harness.redis_server import RedisServer
from harness.slow_proxy import SlowProxy
from harness.watching_gateway import WatchingGateway

FEED = "gatepass:{denylist}:feed"
STEP = 3600.0


# --- the store --------------------------------------------------------------------------------


def redis_is_killed(bound: Bound, store: RedisServer, gateway: WatchingGateway) -> None:
    """Revocations are acknowledged in the moment before Redis dies, and while it is coming back."""
    first, second, live = bound.watched(gateway)
    bound.revoke(first)
    store.kill()
    gateway.waits_until(live.access, "replica_stale")
    store.start()
    bound.revoke(second)
    bound.dwells()
    bound.recovers(gateway, live)


def redis_is_paused(bound: Bound, store: RedisServer, gateway: WatchingGateway) -> None:
    """Redis stands still with all its connections open."""
    first, second, live = bound.watched(gateway)
    bound.revoke(first)
    store.pause()
    gateway.waits_until(live.access, "replica_stale")
    store.resume()
    bound.revoke(second)
    bound.dwells()
    bound.recovers(gateway, live)


def the_epoch_is_lost(bound: Bound, store: RedisServer, gateway: WatchingGateway) -> None:
    """Redis forgets everything; the issuer fills a new epoch from its journal."""
    first, second, live = bound.watched(gateway)
    bound.revoke(first)
    store.client().flushall()
    bound.revoke(second)
    bound.dwells()
    bound.recovers(gateway, live)


def the_feed_is_trimmed(bound: Bound, store: RedisServer, gateway: WatchingGateway) -> None:
    """While the gateway sleeps the feed goes on without what it has not read."""
    first, second, live = bound.watched(gateway)
    gateway.process.pause()
    bound.revoke(first)
    bound.revoke(second)
    store.client().xtrim(FEED, maxlen=1, approximate=False)
    bound.dwells()
    gateway.process.resume()
    bound.recovers(gateway, live)
    assert gateway.said(first.access).counts.get("replica_stale", 0) > 0


def the_gateway_is_stopped(bound: Bound, store: RedisServer, gateway: WatchingGateway) -> None:
    """A process that was stopped knows, as it goes on, how long it has slept."""
    first, second, live = bound.watched(gateway)
    for session in (first, second):
        gateway.process.pause()
        bound.revoke(session)
        bound.dwells()
        gateway.process.resume()
        bound.recovers(gateway, live)


def the_clock_is_stepped(bound: Bound, store: RedisServer, gateway: WatchingGateway) -> None:
    """An hour back or forth on the gateway's wall clock: it drops nothing that it knows."""
    first, second, live = bound.watched(gateway)
    bound.revoke(first)
    gateway.waits_until(first.access, "revoked")
    for seconds, verdict in ((STEP, "expired"), (-STEP, "not_yet_valid")):
        gateway.step_clock(seconds)
        gateway.waits_until(live.access, verdict)
        bound.dwells()
        gateway.step_clock(0.0)
        gateway.waits_until(live.access, "accepted")
        bound.holds(gateway)
    gateway.step_clock(STEP)
    bound.revoke(second)
    bound.dwells()
    gateway.step_clock(0.0)
    bound.recovers(gateway, live)


FAULTS = [
    redis_is_killed,
    redis_is_paused,
    the_epoch_is_lost,
    the_feed_is_trimmed,
    the_gateway_is_stopped,
    the_clock_is_stepped,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_nothing_revoked_is_accepted_past_the_bound(
    make_bound: MakeBound,
    fault: Callable[[Bound, RedisServer, WatchingGateway], None],
) -> None:
    """Guarantee: whatever happens to Redis or the gateway, and it recovers by itself."""
    with RedisServer(tcp=True) as store:
        bound = make_bound(store.unix_url)
        with bound.gateway(store.tcp_url) as gateway:
            fault(bound, store, gateway)


def test_the_bound_holds_while_the_cable_is_pulled(make_bound: MakeBound) -> None:
    """Guarantee: a gateway that is cut off from Redis closes, and is not told so by anybody."""
    with TwoHosts() as hosts:
        far = RedisServer(
            tcp=True,
            config={"bind": FAR, "protected-mode": "no"},
            prefix=hosts.within(hosts.far),
        )
        with far:
            bound = make_bound(far.unix_url)
            url = bound.fleet.url
            documents = {
                f"{url}/.well-known/{name}": bound.fleet.issuers[0].ask(f"/.well-known/{name}").body
                for name in ("oauth-authorization-server", "jwks.json")
            }
            gateway = bound.gateway(
                f"redis://{FAR}:{far.port}/0",
                documents=documents,
                prefix=hosts.within(hosts.near),
            )
            with gateway:
                first, second, live = bound.watched(gateway)
                hosts.pull()
                bound.revoke(first)
                bound.dwells()
                bound.holds(gateway)
                assert gateway.said(live.access).now == "replica_stale"
                hosts.plug()
                bound.revoke(second)
                bound.recovers(gateway, live)


def test_the_bound_holds_through_a_failover(make_bound: MakeBound) -> None:
    """Guarantee: the promoted replica has lost acknowledged writes."""
    with RedisSentinel() as pair:
        bound = make_bound(pair.url)
        with bound.gateway(pair.url) as gateway:
            first, second, live = bound.watched(gateway)
            assert pair.master.client().wait(1, 5000) == 1
            pair.hold_replica_back()
            bound.revoke(first)
            with bound.gateway(pair.url) as latecomer:
                latecomer.watch(first.access)
                latecomer.waits_until(first.access, "revoked")
                pair.lose_master()
                pair.wait_promoted()
                bound.revoke(second)
                bound.dwells()
                bound.recovers(gateway, live)
                latecomer.waits_until(first.access, "revoked")
                bound.revoked.remove(second)
                bound.holds(latecomer)


def read_replica_is_cut_off(make_bound: MakeBound, mutant: str = "") -> None:
    """The gateway reads a replica of Redis that hears nothing more, and answers all the same."""
    with RedisServer(tcp=True) as primary, RedisServer(tcp=True) as replica:
        assert primary.port is not None
        with SlowProxy(primary.port) as line:
            follower = replica.client()
            follower.replicaof("127.0.0.1", str(line.port))
            for _ in until(30, "the read replica"):
                if follower.info("replication")["master_link_status"] == "up":
                    break
            bound = make_bound(primary.unix_url)
            with bound.gateway(replica.tcp_url, mutant=mutant) as gateway:
                first, second, live = bound.watched(gateway)
                line.delay = 600
                bound.revoke(first)
                bound.dwells()
                bound.holds(gateway)
                assert gateway.said(live.access).now == "replica_stale"
                assert follower.info("replication")["master_link_status"] == "up"
                follower.replicaof("127.0.0.1", str(primary.port))
                bound.revoke(second)
                bound.recovers(gateway, live)


def test_the_bound_holds_on_a_read_replica_that_is_cut_off(make_bound: MakeBound) -> None:
    """Guarantee: a socket that stays up, and answers to polls, say nothing of how old they are."""
    read_replica_is_cut_off(make_bound)


@pytest.mark.parametrize("mutant", ["trusts-its-socket", "never-stale"])
def test_a_gateway_that_goes_by_its_socket_is_found_out(make_bound: MakeBound, mutant: str) -> None:
    """Mutants that count an answer, or one heartbeat for ever, as fresh break the bound."""
    with pytest.raises(AssertionError, match=re.escape("s after the acknowledgement")):
        read_replica_is_cut_off(make_bound, mutant)
