"""Staleness is honest: it never says younger than it is, whatever the feed looks like."""

from __future__ import annotations

import contextlib
import secrets
import time
from pathlib import Path

import pytest
from harness.denylists import KID, FaultyDenylist, HandClock, Store, Token
from harness.processes import until
from harness.redis_server import RedisServer

from revocation import (
    Denylist,
    DenylistUnavailable,
    Entry,
    Kind,
    Replica,
    ReplicaStale,
    TokenRevoked,
    open_denylist,
)
from revocation.redis_denylist import RedisDenylist
from revocation.replica import suspension_aware_clock

INFINITE = float("inf")


@pytest.fixture
def denylist(near_store: Store, clock: HandClock) -> Denylist:
    """A ready denylist in memory and on Redis."""
    return near_store.ready(clock)


def replica_of(denylist: Denylist, clock: HandClock, **options: float) -> Replica:
    """A replica that has its snapshot and has read the feed up to here."""
    replica = Replica(denylist, clock=clock, wall_clock=clock, **options)
    replica.step(block=0)
    replica.step(block=0)
    return replica


def beat(denylist: Denylist, replica: Replica) -> None:
    """A heartbeat that the replica was there to see."""
    replica.step(block=0)
    denylist.heartbeat(0)
    replica.step(block=0)


def test_a_snapshot_alone_vouches_for_nothing(denylist: Denylist, clock: HandClock) -> None:
    """It is in step only once a heartbeat has come that was not there when it loaded."""
    denylist.heartbeat(0)
    replica = replica_of(denylist, clock)
    assert replica.staleness() == INFINITE
    assert not replica.wait_in_step(0)
    beat(denylist, replica)
    assert replica.staleness() == 1.0
    assert replica.wait_in_step(0)
    replica.check(Token(), KID)


def test_it_counts_from_the_asking_not_from_the_answer(
    denylist: Denylist, clock: HandClock
) -> None:
    """A heartbeat that came during a long wait makes the copy as old as the question."""

    class Waiting(FaultyDenylist):
        def tail(self, after: object, block: float) -> object:
            clock.advance(0.75)
            denylist.heartbeat(0)
            return super().tail(after, block)

    replica = replica_of(denylist, clock)
    replica._follower._denylist = Waiting(denylist)
    clock.advance(2)
    replica.step(block=0)
    assert replica.staleness() == 0.75 + 1.0


@pytest.mark.parametrize(("limit", "interval"), [(5.0, 1.0), (2.5, 0.25), (30.0, 10.0)])
def test_the_limit_is_exact(
    denylist: Denylist, clock: HandClock, limit: float, interval: float
) -> None:
    """Exactly at `max_staleness` it still answers, and a moment later it does not."""
    replica = replica_of(denylist, clock, max_staleness=limit, heartbeat_interval=interval)
    beat(denylist, replica)
    assert replica.staleness() == interval
    clock.advance(limit - interval)
    replica.check(Token(), KID)
    clock.advance(0.001)
    with pytest.raises(ReplicaStale):
        replica.check(Token(), KID)


def test_a_limit_below_two_heartbeats_is_refused(denylist: Denylist, tmp_path: Path) -> None:
    """Ordinary jitter would close such a gateway again and again; two are enough."""
    for options in ({}, {"shared": tmp_path / "replica"}):
        with pytest.raises(ValueError, match="two heartbeat intervals"):
            Replica(denylist, max_staleness=1.99, heartbeat_interval=1.0, **options)
        for never in (float("inf"), float("nan")):
            with pytest.raises(ValueError, match="finite"):
                Replica(denylist, max_staleness=never, heartbeat_interval=1.0, **options)
        Replica(denylist, max_staleness=2.0, heartbeat_interval=1.0, **options)


def test_a_feed_without_heartbeats_goes_stale(denylist: Denylist, clock: HandClock) -> None:
    """Entries alone prove nothing about who still writes, but they are applied."""
    replica = replica_of(denylist, clock)
    beat(denylist, replica)
    for n in range(10):
        clock.advance(1)
        denylist.add([Entry.session(f"s{n}", clock.after(300))])
        replica.step(block=0)
    assert replica.staleness() == 11.0
    assert not replica.wait_in_step(0)
    assert len(replica) == 10
    with pytest.raises(ReplicaStale):
        replica.check(Token(), KID)


def test_regular_heartbeats_keep_it_in_step(denylist: Denylist, clock: HandClock) -> None:
    """One heartbeat an interval, seen soon after, is never older than three intervals."""
    replica = replica_of(denylist, clock)
    beat(denylist, replica)
    for tick in range(1, 100):
        clock.advance(0.25)
        if tick % 4 == 0:
            denylist.heartbeat(1)
        if tick % 3 == 0:
            denylist.add([Entry.session(f"s{tick}", clock.after(300))])
        replica.step(block=0)
        assert replica.staleness() <= 3.0


def test_the_last_words_of_a_dead_issuer_do_not_count(denylist: Denylist, clock: HandClock) -> None:
    """Heartbeats that had long lain in the feed when the replica came back are no sign of life."""
    replica = replica_of(denylist, clock)
    beat(denylist, replica)
    line = FaultyDenylist(denylist)
    replica._follower._denylist = line
    line.down = True
    with pytest.raises(DenylistUnavailable):
        replica.step(block=0)
    for _ in range(10):
        clock.advance(1)
        denylist.heartbeat(0)
    clock.advance(50)
    line.down = False
    replica.step(block=0)
    assert replica.staleness() == 61.0
    for _ in range(3):
        clock.advance(1)
        replica.step(block=0)
    assert replica.staleness() == 64.0
    for _ in range(2):
        beat(denylist, replica)
    assert replica.staleness() == 1.0


def test_a_backlog_is_not_fresh_before_its_end(denylist: Denylist, clock: HandClock) -> None:
    """While batches of old items come in, each with heartbeats, more is known to be missing."""
    line = FaultyDenylist(denylist)
    replica = replica_of(line, clock)
    beat(denylist, replica)
    for n in range(20):
        clock.advance(1)
        denylist.heartbeat(0)
        denylist.add([Entry.session(f"s{n}", clock.after(300))])
    denylist.add([Entry.key(KID)])
    line.batch = 3
    while replica.position != denylist.state().position:
        with pytest.raises(ReplicaStale):
            replica.check(Token(), KID)
        replica.step(block=0)
        assert replica.staleness() >= 21.0
    beat(denylist, replica)
    with pytest.raises(TokenRevoked):
        replica.check(Token(), KID)


def test_a_late_heartbeat_makes_it_fresh_again_at_once(
    denylist: Denylist, clock: HandClock
) -> None:
    """After a silent minute the first new heartbeat is enough for a replica that kept asking."""
    replica = replica_of(denylist, clock)
    beat(denylist, replica)
    for _ in range(60):
        clock.advance(1.5)
        replica.step(block=0)
    assert replica.staleness() == 91.0
    denylist.heartbeat(0)
    replica.step(block=0)
    assert replica.staleness() == 1.0


def test_a_heartbeat_does_not_stand_for_the_time_of_a_failure(
    denylist: Denylist, clock: HandClock
) -> None:
    """What was asked before the line broke does not become fresh by what comes after."""
    line = FaultyDenylist(denylist)
    replica = replica_of(line, clock)
    beat(denylist, replica)
    replica.step(block=0)
    line.down = True
    for _ in range(20):
        clock.advance(0.5)
        with pytest.raises(DenylistUnavailable):
            replica.step(block=0)
    denylist.heartbeat(0)
    line.down = False
    replica.step(block=0)
    assert replica.staleness() == 11.0
    beat(denylist, replica)
    assert replica.staleness() == 1.0


def test_a_process_that_was_suspended_knows_it(denylist: Denylist, clock: HandClock) -> None:
    """Coming back after an hour it is an hour old before it has taken a single step."""
    replica = replica_of(denylist, clock)
    beat(denylist, replica)
    clock.advance(3_600)
    assert replica.staleness() == 3_601.0
    with pytest.raises(ReplicaStale):
        replica.check(Token(), KID)


def test_the_clock_goes_on_while_the_machine_sleeps() -> None:
    """By default age is measured on a clock that counts suspension and that nobody sets."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= suspension_aware_clock() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_paused_redis_is_seen_for_what_it_is(
    private_redis: RedisServer, clock: HandClock
) -> None:
    """Frozen with its sockets open, it makes the copy age; resumed, it makes it fresh again."""
    client = private_redis.client(socket_timeout=0.2, retry=None)
    denylist = RedisDenylist(client, clock=clock)
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    denylist.add([Entry.key("old-key")])
    replica = replica_of(denylist, clock)
    beat(denylist, replica)
    private_redis.pause()
    for age in range(2, 8):
        clock.advance(1)
        with pytest.raises(DenylistUnavailable):
            replica.step(block=0)
        assert replica.staleness() == age
    with pytest.raises(ReplicaStale):
        replica.check(Token(), KID)
    private_redis.resume()
    for _ in until(10, "an answer"):
        with contextlib.suppress(DenylistUnavailable):
            denylist.state()
            break
    for _ in range(2):
        beat(denylist, replica)
    assert replica.staleness() == 1.0
    replica.check(Token(), KID)
    with pytest.raises(TokenRevoked) as refusal:
        replica.check(Token(), "old-key")
    assert refusal.value.kind is Kind.KEY


@pytest.mark.parametrize("pause", [0.01, 0.05, 0.13, 0.25])
@pytest.mark.parametrize("late", [0.0, 0.01, 0.02, 0.05])
def test_heartbeats_in_step_with_the_reads_of_a_busy_feed_all_count(
    clock: HandClock, pause: float, late: float
) -> None:
    """Wherever a heartbeat falls between two reads, the copy stays younger than three intervals."""
    interval = 0.25
    denylist = open_denylist(f"memory://{secrets.token_hex(8)}", clock=clock)
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    replica = replica_of(denylist, clock, heartbeat_interval=interval)
    due, ages = clock(), []
    for number in range(int(20 / pause)):
        if clock() >= due:
            denylist.heartbeat(0)
            due += interval + late
        denylist.add([Entry.session(f"session-{number}", clock.after(300))])
        replica.step(block=0)
        ages.append(replica.staleness())
        clock.advance(pause)
    assert max(ages[int(1 / pause) :]) < 3 * (interval + max(late, pause))
