"""The stated bound: whatever breaks, no gateway takes a token that was revoked before its bound.

Every test asserts the guarantee, `max_staleness`: no check that began later than that after the
revocation was acknowledged accepts the token. What is typical, milliseconds, is measured by
`benchmarks/revocation_latency.py` and asserted nowhere. The gateway is a process of its own that
verifies all the tokens hundreds of times a second; the issuer and Redis are real.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.bound import Bound, MakeBound
from harness.issuer_process import FEED_NAME, FEED_SECRET, IssuerFleet
from harness.namespaces import FAR, TwoHosts
from harness.processes import monotonic, until
from harness.redis_sentinel import RedisSentinel
from harness.redis_server import RedisServer
from harness.slow_proxy import SlowProxy
from harness.watching_gateway import WatchingGateway

from revocation.http_connection import with_credentials

FEED = "gatepass:{denylist}:feed"
STEP = 3600.0
BROKEN = re.compile(r"accepted \d+\.\d+ s after the (acknowledgement|last news)")


@dataclass(frozen=True)
class Stage:
    """A Redis and an issuer, which the faults of this file break in turn, and mend again."""

    store: RedisServer
    fleet: IssuerFleet

    def denylist(self, feed: str) -> str:
        """What a gateway follows."""
        return self.store.tcp_url if feed == "Redis" else self.fleet.feed_url()

    def mend(self) -> None:
        """Whatever a test has left broken."""
        if self.store.process.running:
            self.store.resume()
        else:
            self.store.start()
        self.fleet.issuers[0].wait_ready()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Both, for all faults that can be mended."""
    directory = tmp_path_factory.mktemp("bound")
    with RedisServer(tcp=True) as store:
        fleet = IssuerFleet(
            f"sqlite:///{directory}/issuer.db",
            store.unix_url,
            directory / "fleet",
            size=1,
            settings={"GATEPASS_WORKERS": "1"},
        )
        with fleet:
            yield Stage(store, fleet)


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    """Both, in order."""
    yield running
    running.mend()


# --- the store --------------------------------------------------------------------------------


def redis_is_killed(bound: Bound, store: RedisServer, gateway: WatchingGateway) -> None:
    """Revocations are acknowledged in the moment before Redis dies, and while it is coming back."""
    first, second, live = bound.watched(gateway)
    bound.revoke(first)
    store.kill()
    bound.closes(gateway, live, monotonic())
    store.start()
    bound.revoke(second)
    bound.dwells()
    bound.recovers(gateway, live)


def redis_is_paused(bound: Bound, store: RedisServer, gateway: WatchingGateway) -> None:
    """Redis stands still with all its connections open."""
    first, second, live = bound.watched(gateway)
    bound.revoke(first)
    store.pause()
    bound.closes(gateway, live, monotonic())
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
    # Over HTTP the feed would go on into its socket, and no gap be left: end the stream first.
    issuer = bound.fleet.issuers[0]
    issuer.process.kill()
    issuer.process.start()
    issuer.wait_ready()
    bound.revoke(first)
    bound.revoke(second)
    store.client().xtrim(FEED, maxlen=1, approximate=False)
    bound.dwells()
    gateway.process.resume()
    bound.recovers(gateway, live)
    assert gateway.said(first.access).counts.get("replica_stale", 0) > 0
    assert "reading the denylist afresh" in gateway.process.stderr()


def the_gateway_is_stopped(bound: Bound, store: RedisServer, gateway: WatchingGateway) -> None:
    """A process that was stopped knows, as it goes on, how long it has slept.

    The second time Redis stands still when it does, so that it cannot learn what it has missed.
    """
    first, second, live = bound.watched(gateway)
    for session in (first, second):
        gateway.process.pause()
        stopped = monotonic()
        # The answer to what it was just asking, so that nothing later lies in its socket.
        a_heartbeat_comes(store)
        bound.revoke(session)
        bound.dwells()
        if session is second:
            store.pause()
        gateway.process.resume()
        if session is second:
            bound.closes(gateway, live, stopped)
            store.resume()
        bound.recovers(gateway, live)


def a_heartbeat_comes(store: RedisServer) -> None:
    client = store.client()
    last = client.xrevrange(FEED, count=1)
    for _ in until(10, "a heartbeat"):
        if client.xrevrange(FEED, count=1) != last:
            return


def the_clock_is_stepped(bound: Bound, store: RedisServer, gateway: WatchingGateway) -> None:
    """An hour back or forth on the gateway's wall clock: it drops nothing that it knows."""
    first, second, live = bound.watched(gateway)
    bound.revoke(first)
    gateway.waits_until(first.access, "revoked")
    for seconds, verdict in ((STEP, "expired"), (-STEP, "not_yet_valid")):
        gateway.step_clock(seconds)
        gateway.waits_until(live.access, verdict)
        bound.passes()
        gateway.step_clock(0.0)
        gateway.waits_until(live.access, "accepted")
        bound.passes()
        bound.holds(gateway)
    gateway.step_clock(STEP)
    bound.revoke(second)
    bound.dwells()
    gateway.step_clock(0.0)
    bound.recovers(gateway, live)


Fault = Callable[[Bound, RedisServer, WatchingGateway], None]
FAULTS: list[tuple[Fault, str]] = [
    (redis_is_killed, "Redis"),
    (redis_is_killed, "HTTP"),
    (redis_is_paused, "Redis"),
    (redis_is_paused, "HTTP"),
    (the_epoch_is_lost, "Redis"),
    (the_epoch_is_lost, "HTTP"),
    (the_feed_is_trimmed, "Redis"),
    (the_feed_is_trimmed, "HTTP"),
    (the_gateway_is_stopped, "Redis"),
    (the_gateway_is_stopped, "HTTP"),
    (the_clock_is_stepped, "Redis"),
    (the_clock_is_stepped, "HTTP"),
]


@pytest.mark.parametrize(
    ("fault", "feed"), FAULTS, ids=[f"{fault.__name__}-{feed}" for fault, feed in FAULTS]
)
def test_nothing_revoked_is_accepted_past_the_bound(
    stage: Stage, tmp_path: Path, fault: Fault, feed: str
) -> None:
    """Guarantee: whatever happens to Redis or the gateway, and it recovers by itself."""
    bound = Bound(stage.fleet, tmp_path)
    with bound.gateway(stage.denylist(feed)) as gateway:
        fault(bound, stage.store, gateway)


@pytest.mark.parametrize(
    ("fault", "mutant"),
    [
        (redis_is_paused, "never-stale"),
        (the_gateway_is_stopped, "never-stale"),
        (the_clock_is_stepped, "sweeps-by-its-wall-clock"),
    ],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_a_gateway_that_does_not_know_its_age_is_found_out(
    stage: Stage, tmp_path: Path, fault: Fault, mutant: str
) -> None:
    """Mutants for which one heartbeat is enough for ever, or an entry is over when they say so."""
    bound = Bound(stage.fleet, tmp_path)
    with (
        bound.gateway(stage.denylist("Redis"), mutant=mutant) as gateway,
        pytest.raises(AssertionError, match=BROKEN),
    ):
        fault(bound, stage.store, gateway)


# --- the issuer's clock -----------------------------------------------------------------------


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Stage]:
    """A Redis, and an issuer whose clock may be wrong."""
    with (
        RedisServer(tcp=True) as store,
        IssuerFleet(
            f"sqlite:///{tmp_path}/issuer.db",
            store.unix_url,
            tmp_path / "fleet",
            size=1,
            apart=True,
            settings={"GATEPASS_WORKERS": "1"},
        ) as fleet,
    ):
        yield Stage(store, fleet)


@pytest.mark.parametrize("feed", ["Redis", "HTTP"])
@pytest.mark.parametrize("step", [-STEP, STEP], ids=["behind", "ahead"])
def test_an_issuer_whose_clock_is_wrong_vouches_for_nothing(
    apart: Stage, tmp_path: Path, feed: str, step: float
) -> None:
    """Guarantee: gateways close, and no token is signed.

    By a clock that is behind, entries would be over while the tokens are valid: nothing is
    acknowledged, and what was asked for is refused once the clock is right. By one that is ahead,
    entries in force would be over; what it revokes lasts longer than it need.
    """
    bound = Bound(apart.fleet, tmp_path)
    (issuer,) = apart.fleet.issuers
    with bound.gateway(apart.denylist(feed)) as gateway:
        first, second, live = bound.watched(gateway)
        apart.fleet.put_clock(0, step)
        assert issuer.login("nobody", "at all").status == 503
        bound.closes(gateway, live, monotonic())
        ended = issuer.ask("/logout", {"refresh_token": first.refresh})
        assert ended.status == (503 if step < 0 else 200)
        apart.fleet.put_clock(0, 0.0)
        bound.revoke(second)
        gateway.waits_until(first.access, "revoked")
        bound.recovers(gateway, live)


# --- the network ------------------------------------------------------------------------------


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


def test_the_bound_holds_while_the_http_feed_is_cut_off(stage: Stage, tmp_path: Path) -> None:
    """Guarantee: the issuer goes on, and nothing of it arrives; no connection is closed."""
    bound = Bound(stage.fleet, tmp_path)
    with SlowProxy(stage.fleet.issuers[0].port) as line:
        url = f"http://127.0.0.1:{line.port}/revocations"
        with bound.gateway(with_credentials(url, FEED_NAME, FEED_SECRET)) as gateway:
            first, second, live = bound.watched(gateway)
            line.delay = 600
            cut = monotonic()
            bound.revoke(first)
            bound.closes(gateway, live, cut)
            bound.dwells()
            bound.holds(gateway)
            line.delay = 0
            bound.revoke(second)
            bound.recovers(gateway, live)


# --- other servers of Redis -------------------------------------------------------------------


def test_the_bound_holds_through_a_failover(make_bound: MakeBound) -> None:
    """Guarantee: the promoted replica has lost acknowledged writes.

    One gateway follows the pair itself, one the HTTP feed of an issuer that does.
    """
    with RedisSentinel() as pair:
        bound = make_bound(pair.url)
        with (
            bound.gateway(pair.url) as gateway,
            bound.gateway(bound.fleet.feed_url()) as over_http,
        ):
            first, second, live = sessions = bound.watched(gateway)
            for session in sessions:
                over_http.watch(session.access)
            for session in sessions:
                over_http.waits_until(session.access, "accepted")
            assert pair.master.client().wait(1, 5000) == 1
            pair.hold_replica_back()
            bound.revoke(first)
            with bound.gateway(pair.url) as latecomer:
                latecomer.watch(first.access)
                for knowing in (latecomer, over_http):
                    knowing.waits_until(first.access, "revoked")
                pair.lose_master()
                pair.wait_promoted()
                bound.revoke(second)
                bound.dwells()
                for each in (gateway, over_http):
                    bound.recovers(each, live)
                latecomer.waits_until(first.access, "revoked")
                bound.revoked.remove(second)
                bound.holds(latecomer)


def read_replica_is_cut_off(make_bound: MakeBound, mutant: str = "") -> None:
    """The gateway reads a replica of Redis that hears nothing more, and answers all the same."""
    with RedisServer(tcp=True) as primary, RedisServer(tcp=True) as replica:
        assert primary.port is not None
        with SlowProxy(primary.port) as line:
            replica.follow(line.port)
            follower = replica.client()
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


def test_a_gateway_that_goes_by_its_socket_is_found_out(make_bound: MakeBound) -> None:
    """A mutant that counts an answer as fresh breaks the bound."""
    with pytest.raises(AssertionError, match=BROKEN):
        read_replica_is_cut_off(make_bound, "trusts-its-socket")
