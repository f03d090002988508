"""What bounds a replica: how much it holds, how long a search takes, how long the feed waits."""

from __future__ import annotations

import contextlib
import logging
import operator
import secrets
from collections.abc import Iterator

import pytest
from harness.denylists import KID, HandClock, Store, Token, held_by

from revocation import (
    Entry,
    FeedItem,
    Position,
    Record,
    Replica,
    ReplicaStale,
    StalePolicy,
    TokenRevoked,
    follower,
)
from revocation.errors import ReplicaFull
from revocation.packed_copy import PackedCopy
from revocation.packed_table import MOST_PROBES, capacity_for

LATE = 1 << 33


def entries(count: int, expires: int = LATE) -> list[Record]:
    return [Record(b"s" + secrets.token_bytes(16), 1, expires) for _ in range(count)]


# --- how much it holds ------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 10, 766, 767, 768, 769, 2_000])
def test_it_holds_as_many_as_it_may_and_no_more(most: int) -> None:
    """At whatever size of the table; what it holds is still raised, and what expires makes room."""
    copy = PackedCopy(most=most)
    held = entries(most, expires=60)
    copy.merge(held)
    with pytest.raises(ReplicaFull) as full:
        copy.merge(entries(1))
    assert full.value.count == len(copy) == most
    copy.merge([Record(held[0].key, 7, 120)])
    assert copy.level_of(held[0].key) == 7
    assert not copy.sweep(60)
    assert len(copy) == 1
    copy.merge(entries(most - 1))
    with pytest.raises(ReplicaFull):
        copy.merge(entries(1))


def test_a_full_replica_says_so_ages_and_goes_on_by_itself(
    near_store: Store, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It drops nothing for what is new; it fails closed, until enough has expired."""
    denylist = near_store.ready(clock)
    replica = Replica(denylist, clock=clock, wall_clock=clock, most=3)

    def follow() -> None:
        replica.step(block=0)
        clock.advance(1)
        denylist.heartbeat(0)
        replica.step(block=0)

    follow()
    denylist.add([Entry.session(f"s-{number}", clock.after(60)) for number in range(3)])
    follow()
    replica.check(Token(), KID)
    denylist.add([Entry.session("one-more", clock.after(3600))])
    for _ in range(8):
        with pytest.raises(ReplicaFull, match="holds 3 entries"):
            follow()
        clock.advance(1)
    with pytest.raises(TokenRevoked):
        replica.check(Token(sid="s-0"), KID, policy=StalePolicy.OPEN)
    with pytest.raises(ReplicaStale):
        replica.check(Token(), KID)
    clock.advance(180)
    denylist.heartbeat(0)
    with pytest.raises(ReplicaFull):
        replica.step(block=0)
    follow()
    for _ in range(3):
        follow()
    with pytest.raises(TokenRevoked):
        replica.check(Token(sid="one-more"), KID)
    replica.check(Token(), KID)
    assert len(held_by(replica)) == 1


def test_a_full_replica_still_learns_of_an_epoch(near_store: Store, clock: HandClock) -> None:
    """Read with entries for which there is no room, it refuses what was issued before it."""
    denylist = near_store.ready(clock)
    replica = Replica(denylist, clock=clock, wall_clock=clock, most=3)
    replica.step(block=0)
    denylist.add([Entry.session(f"s-{number}", clock.after(60)) for number in range(4)])
    denylist.add([Entry.epoch("another", int(clock()))])
    with pytest.raises(ReplicaFull):
        replica.step(block=0)
    with pytest.raises(TokenRevoked):
        replica.check(Token(iat=int(clock())), KID, policy=StalePolicy.OPEN)
    replica.check(Token(iat=int(clock()) + 1), KID, policy=StalePolicy.OPEN)


def test_a_snapshot_too_large_is_not_read_over_and_over(
    near_store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that is full waits long before it asks for everything again, and says why once."""
    denylist = near_store.ready()
    denylist.add([Entry.session(f"s-{number}", LATE) for number in range(4)])
    waits = list[float]()
    replica = Replica(denylist, most=3)
    part = replica._follower
    assert isinstance(part, follower.Follower)

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 3:
            part._stopping.set()
        return False

    monkeypatch.setattr(part._stopping, "wait", wait)
    part._follow()
    assert min(waits) >= 5
    assert caplog.text.count("holds 3 entries, and takes no more") == 1


# --- how long a search takes ------------------------------------------------------------------


def test_a_busy_feed_is_read_in_batches(near_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that took less than the least time between two is followed by a pause, no other."""
    clock = HandClock()
    replica = Replica(near_store.ready(), clock=clock)
    part = replica._follower
    assert isinstance(part, follower.Follower)
    took, waits = [0.0, 0.001, 0.0039, 0.004, 1.0], list[float]()

    def step(block: float) -> None:
        clock.advance(took.pop(0))
        if not took:
            part._stopping.set()

    monkeypatch.setattr(part, "step", step)
    monkeypatch.setattr(part._stopping, "wait", waits.append)
    part._follow()
    assert waits == pytest.approx([0.004, 0.003, 0.0001], abs=1e-5)


def test_nobody_makes_a_search_long() -> None:
    """With all ids of one place, which a thief of the signing key could choose, a limit holds."""
    copy = PackedCopy()
    flood = [Record(b"t" + bytes(8) + number.to_bytes(8, "big"), 1, 60) for number in range(5_000)]
    with pytest.raises(ReplicaFull):
        copy.merge(flood)
    assert len(copy) == MOST_PROBES
    assert all(copy.level_of(record.key) for record in flood[:MOST_PROBES])
    assert not copy.level_of(flood[-1].key)
    for record in entries(300):
        # Some of these are refused; then the table stays as it is, and none is lost.
        with contextlib.suppress(ReplicaFull):
            copy.merge([record])
            assert copy.level_of(record.key)
    assert all(copy.level_of(record.key) for record in flood[:MOST_PROBES])
    while copy.sweep(60):
        pass
    copy.merge(entries(1))


def test_random_keys_are_far_from_the_limit() -> None:
    """The longest search in a table as full as it gets is a tenth of it."""
    copy = PackedCopy()
    copy.merge(iter(entries(100_000)))
    tags = bytes(copy.table._tags)
    assert max(map(len, (tags + tags).split(b"\0"))) < MOST_PROBES / 10


# --- how long the feed waits ------------------------------------------------------------------


def test_a_sweep_is_taken_in_slices() -> None:
    """Of a large table, with checks and entries in between; in the end all is gone that can be."""
    copy = PackedCopy()
    gone, kept = entries(100_000, expires=60), entries(20_000)
    copy.merge(gone + kept)
    calls = 0
    while copy.sweep(60):
        calls += 1
        late = entries(1)
        copy.merge(late)
        kept += late
        assert all(copy.level_of(record.key) for record in kept[-30:])
    assert calls > 5
    assert len(copy) == len(kept)
    assert all(copy.level_of(record.key) for record in kept)
    assert copy.table.capacity <= 1.05 * capacity_for(len(kept))


def test_the_feed_is_read_between_the_slices(
    near_store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is revoked while a sweep goes on is known after the next step, not after the sweep."""
    denylist = near_store.ready(clock)
    replica = Replica(denylist, clock=clock, wall_clock=clock)
    swept, blocks = list[float](), list[float]()
    tail = denylist.tail

    def noted_tail(after: Position, block: float) -> list[FeedItem]:
        blocks.append(block)
        return tail(after, block)

    def sweep(now: float) -> bool:
        swept.append(now)
        return len(swept) % 10 != 0

    monkeypatch.setattr(replica._copy, "sweep", sweep)
    monkeypatch.setattr(denylist, "tail", noted_tail)
    replica.step(block=0)
    for number in range(1, 15):
        denylist.add([Entry.session(f"s-{number}", clock.after(600))])
        denylist.heartbeat(0)
        replica.step(block=30)
        assert len(swept) == min(number, 10)
        with pytest.raises(TokenRevoked):
            replica.check(Token(sid=f"s-{number}"), KID)
    assert blocks == [30] + 9 * [0.05] + 4 * [30]


# --- loading ----------------------------------------------------------------------------------


def test_a_snapshot_says_about_how_many_it_has(redis_store: Store) -> None:
    """Before the first record nothing is known; then it is right within a tenth."""
    denylist = redis_store.ready()
    for minute in range(40):
        denylist.add(
            [Entry.session(f"s-{minute}-{number}", LATE + 300 * minute) for number in range(500)]
        )
    records = denylist.snapshot().records
    assert operator.length_hint(records) == 0
    rest = iter(records)
    next(rest)
    assert 18_000 <= operator.length_hint(records) <= 22_000
    assert sum(1 for _ in rest) == 19_999


def test_a_long_read_is_told_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many of about how many, once a second."""
    caplog.set_level(logging.INFO, "gatepass.revocation")
    ticks = iter(range(0, 10_000))
    monkeypatch.setattr(follower.time, "monotonic", lambda: next(ticks) * 0.4)

    class Slow:
        def __iter__(self) -> Iterator[Record]:
            return iter(entries(20_000))

        def __length_hint__(self) -> int:
            return 21_000

    told = follower._Telling(Slow())
    assert operator.length_hint(told) == 21_000
    assert sum(1 for _ in told) == 20_000
    assert caplog.messages == ["the replica has read 8192 of about 21000 entries"]


def test_a_table_is_made_large_enough_at_once() -> None:
    """A snapshot that says how many it has is not copied while it is read."""
    copy = PackedCopy()
    copy.merge(entries(20_000))
    assert copy.table.capacity == capacity_for(20_000)
    assert not copy.sweep(0)
    assert copy.table.capacity == capacity_for(20_000)
