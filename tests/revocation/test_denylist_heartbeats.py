"""Every denylist's heartbeats, and that neither they nor anything else go into the past."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness.denylists import HandClock, Store, Token, contents, feed, in_threads
from harness.redis_server import RedisServer

from revocation import (
    CLOCK_TOLERANCE,
    ClocksApart,
    DenylistNotReady,
    DenylistWentBack,
    Entry,
    FeedGap,
    HeartbeatLate,
    Position,
    open_denylist,
)


@pytest.mark.usefixtures("unhurried")
def test_one_heartbeat_an_interval_whoever_writes_it(store: Store, clock: HandClock) -> None:
    """Of eight issuers that beat in one moment one writes, and the next beat waits its time."""
    denylists = [store.ready(clock) for _ in range(8)]
    expected = 0
    for wait, beats in ((0, 1), (0.999, 0), (0.001, 1), (0.5, 0), (7, 1)):
        clock.advance(wait)
        positions = in_threads(8, lambda number: denylists[number].heartbeat(1.0))
        expected += beats
        assert len(set(positions)) == 1
        assert positions[0].seq == expected
    items = feed(denylists[0])
    assert all(item.is_heartbeat for item in items)
    assert items[-1].sent == int(clock.now * 1000)


@pytest.mark.parametrize("step", [0.001, 1.0])
def test_a_clock_that_was_put_back_silences_no_heartbeat(
    store: Store, clock: HandClock, step: float
) -> None:
    """The first beat after a small step backwards is written."""
    denylist = store.ready(clock)
    denylist.heartbeat(1.0)
    clock.advance(-step)
    assert denylist.heartbeat(1.0).seq == 2
    assert denylist.heartbeat(1.0).seq == 2


@pytest.mark.parametrize("step", [1.001, 3600.0])
def test_a_clock_that_was_ahead_has_let_entries_expire(
    store: Store, clock: HandClock, step: float
) -> None:
    """Put back by more than entries outlive their tokens, it asks for a replay, once."""
    denylist = store.ready(clock)
    denylist.heartbeat(1.0)
    clock.advance(-step)
    with pytest.raises(DenylistWentBack):
        denylist.heartbeat(1.0)
    assert not denylist.state().ready
    denylist.mark_ready()
    assert denylist.heartbeat(1.0).seq == 2
    assert denylist.heartbeat(1.0).seq == 2


@pytest.mark.parametrize("ahead", [CLOCK_TOLERANCE, CLOCK_TOLERANCE + 0.002, 3600.0])
def test_a_store_whose_clock_is_ahead_of_the_caller_s_takes_nothing(
    redis_server: RedisServer, clock: HandClock, ahead: float
) -> None:
    """By more than is tolerated: what the caller reckons would be over too early there.

    Whoever's clock is right goes on. If it was the store's that was wrong, it has let entries
    expire, and asks for a replay once it is put back.
    """
    redis_server.reset()
    store_clock = HandClock()
    opened = [
        open_denylist(redis_server.unix_url, clock=store_clock, wall_clock=wall_clock)
        for wall_clock in (clock, store_clock)
    ]
    denylist, agreeing = opened
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    denylist.heartbeat(1.0)
    store_clock.advance(ahead)
    entry = Entry.session("s", clock.after(300))
    if ahead <= CLOCK_TOLERANCE:
        assert denylist.add([entry]).seq == 2
        assert denylist.heartbeat(1.0).seq == 3
    else:
        for step in (lambda: denylist.add([entry]), lambda: denylist.heartbeat(1.0)):
            with pytest.raises(ClocksApart):
                step()
        assert (contents(denylist), denylist.state().position.seq) == ({}, 1)
        assert agreeing.heartbeat(1.0).seq == 2
        store_clock.advance(-ahead)
        with pytest.raises(DenylistWentBack):
            denylist.heartbeat(1.0)
        denylist.mark_ready()
        assert denylist.add([entry]).seq == 3
        assert denylist.heartbeat(1.0).seq == 4
    for each in opened:
        each.close()


def test_a_clock_ahead_that_nobody_beat_by_is_noticed_when_it_is_put_back(
    redis_server: RedisServer, clock: HandClock
) -> None:
    """Entries have expired all the same, and no heartbeat bears witness to it."""
    redis_server.reset()
    store_clock = HandClock()
    denylist = open_denylist(redis_server.unix_url, clock=store_clock, wall_clock=clock)
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    denylist.heartbeat(1.0)
    store_clock.advance(3600)
    with pytest.raises(ClocksApart):
        denylist.heartbeat(1.0)
    store_clock.advance(-3600)
    with pytest.raises(DenylistWentBack):
        denylist.heartbeat(1.0)
    denylist.close()


@pytest.mark.parametrize(("interval", "waited"), [(0.25, 1.0), (1.0, 1.0), (5.0, 5.0)])
def test_a_heartbeat_goes_by_what_was_read_within_an_interval(
    store: Store, clock: HandClock, interval: float, waited: float
) -> None:
    """Of whoever stood still for longer nothing is written; nor of one who asked another clock."""
    denylist = store.ready(clock)
    asked = denylist.time()
    clock.advance(waited)
    assert denylist.heartbeat(interval, None, asked).seq == 1
    assert denylist.heartbeat(interval, None, asked - 60).seq == 1
    clock.advance(0.01 + waited)
    for wrong in (asked, clock.now + 0.01):
        with pytest.raises(HeartbeatLate):
            denylist.heartbeat(interval, None, wrong)
    assert denylist.state().position.seq == 1
    assert denylist.heartbeat(interval, None, denylist.time()).seq == 2


def test_a_heartbeat_is_written_where_the_feed_holds_what_was_seen(store: Store) -> None:
    """A position that the feed passed through is no cause for alarm."""
    denylist = store.ready()
    begun = denylist.state().position
    first = denylist.heartbeat(0, begun)
    denylist.add([Entry.key("k")])
    for known in (first, denylist.state().position, None):
        before = denylist.state().position.seq
        assert denylist.heartbeat(0, known).seq == before + 1


def missed(here: Position, how: str) -> Position:
    """A position that somebody saw and the denylist that stands at `here` does not hold."""
    return {
        "shorter": Position(here.epoch, here.seq + 5, "0" * 40),
        "another history": Position(here.epoch, here.seq, "0" * 40),
        "another epoch": Position("another", here.seq, here.chain),
    }[how]


WAYS_BACK = ["shorter", "another history", "another epoch"]


@pytest.mark.parametrize("how", WAYS_BACK)
@pytest.mark.parametrize("write", ["heartbeat", "add", "check"])
def test_nothing_is_written_into_the_past(store: Store, how: str, write: str) -> None:
    """Where the feed lacks what was seen, nothing is written or vouched for until refilled."""
    denylist = store.ready()
    denylist.heartbeat(0)
    here = denylist.heartbeat(0)
    seen = missed(here, how)
    writes: dict[str, Callable[[], object]] = {
        "heartbeat": lambda: denylist.heartbeat(0, seen),
        "add": lambda: denylist.add([Entry.key("k")], seen),
        "check": lambda: denylist.add([], seen),
    }
    with pytest.raises(DenylistWentBack) as refusal:
        writes[write]()
    assert refusal.value.code == "denylist_went_back"
    assert denylist.state().position == here
    assert contents(denylist) == {}
    assert not denylist.state().ready
    with pytest.raises(DenylistNotReady):
        denylist.heartbeat(0, here)
    with pytest.raises(DenylistNotReady):
        denylist.lookup(Token().probe(denylist))
    denylist.mark_ready()
    assert denylist.heartbeat(0, here).seq == here.seq + 1


@pytest.mark.parametrize("how", WAYS_BACK)
def test_no_question_is_answered_from_the_past(store: Store, how: str) -> None:
    """Who has seen more than the denylist holds gets an error rather than "not revoked"."""
    denylist = store.ready()
    here = denylist.heartbeat(0)
    probe = Token().probe(denylist)
    assert denylist.lookup(probe, here) is None
    with pytest.raises(DenylistWentBack):
        denylist.lookup(probe, missed(here, how))
    assert denylist.lookup(probe, here) is None


def test_a_refilled_feed_goes_on_above_all_that_was_seen(store: Store) -> None:
    """Within an epoch `seq` only rises, also over what a store from the past has forgotten."""
    denylist = store.ready()
    here = denylist.heartbeat(0)
    lost = Position(here.epoch, here.seq + 40, "0" * 40)
    reached = denylist.mark_ready(here.epoch, lost)
    assert reached.seq == lost.seq + 1
    assert denylist.add([], reached) == reached
    assert denylist.mark_ready(here.epoch, lost) == reached
    assert denylist.mark_ready(here.epoch, Position("another", 1_000, "")) == reached
    with pytest.raises(FeedGap):
        denylist.tail(here, 0)
    with pytest.raises(DenylistWentBack):
        denylist.add([], lost)


def test_a_replaced_denylist_is_another_epoch_and_empty(store: Store) -> None:
    """`replace` leaves nothing of what was there, and vouches for nothing yet."""
    denylist = store.ready()
    denylist.add([Entry.key("k"), Entry.session("s", 1 << 33)])
    old = denylist.state()
    new = denylist.replace(watermark=77)
    assert new.position.epoch != old.position.epoch
    assert new.salt != old.salt
    assert (new.position.seq, new.watermark, new.ready) == (0, 77, False)
    assert contents(denylist) == {}
    denylist.mark_ready()
    denylist.add([Entry.session("s", 1 << 33)])
    assert len(contents(denylist)) == 1
    assert [item.seq for item in feed(denylist)] == [1]


def test_what_was_acknowledged_is_not_trimmed(store: Store, clock: HandClock) -> None:
    """However long ago it was, the position that others go by stays in the feed."""
    denylist = store.ready(clock)
    denylist.heartbeat(0)
    known = denylist.add([Entry.key("k")])
    for _ in range(3):
        clock.advance(2_000)
        denylist.heartbeat(0, known)
    assert denylist.add([], known).seq == known.seq + 3
    assert denylist.tail(known, 0)[0].seq == known.seq + 1
    clock.advance(2_000)
    newer = denylist.heartbeat(0, known)
    denylist.heartbeat(0, newer)
    # An issuer that was stopped after reading it must not take the store for one from the past.
    assert denylist.heartbeat(0, known).seq > newer.seq
    clock.advance(2_000)
    newest = denylist.heartbeat(0, newer)
    denylist.heartbeat(0, newest)
    with pytest.raises(DenylistWentBack):
        denylist.add([], known)
