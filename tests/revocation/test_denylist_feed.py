"""Every denylist's feed: it goes on where a snapshot stood, and is kept for its window."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from harness.denylists import HandClock, Store, contents, start_of

from revocation import Entry, FeedGap, Position
from revocation.entry import unpack


def test_the_feed_goes_on_where_the_snapshot_stood(store: Store, clock: HandClock) -> None:
    """What is added while a snapshot is being read is in the feed after its position."""
    denylist = store.ready(clock)
    denylist.add([Entry.session(f"before-{n}", clock.after(60 * n)) for n in range(1, 20)])
    snapshot = denylist.snapshot()
    records = iter(snapshot.records)
    seen = {next(records).key}
    late = [Entry.session(f"while-{n}", clock.after(60 * n)) for n in range(1, 20)]
    denylist.add(late)
    seen |= {record.key for record in records}
    for item in denylist.tail(snapshot.state.position, block=0):
        seen |= {record.key for record in unpack(item.records)}
    assert seen == set(contents(denylist))
    assert len(seen) == 38


def test_tail_waits_for_news(store: Store) -> None:
    """A reader at the end of the feed is answered as soon as something is added."""
    denylist, other = store.ready(), store.open()
    position = denylist.state().position
    assert denylist.tail(position, block=0.01) == []
    heard: list[int] = []

    def listen() -> None:
        while not heard:
            heard.extend(item.seq for item in denylist.tail(position, block=1))

    thread = threading.Thread(target=listen)
    thread.start()
    other.add([Entry.key("k")])
    thread.join(timeout=30)
    assert heard == [1]


def test_tail_gives_only_what_is_new(store: Store) -> None:
    """From each position the items after it come in order."""
    denylist = store.ready()
    positions = [denylist.state().position] + [denylist.heartbeat(0) for _ in range(5)]
    for before, after in pairwise(positions):
        assert after.seq == before.seq + 1
        seqs = [item.seq for item in denylist.tail(before, block=0)]
        assert seqs == list(range(after.seq, 6))


def test_a_position_that_is_not_of_this_feed_is_a_gap(store: Store) -> None:
    """Another epoch, a place in the future and another history are told from a quiet feed."""
    denylist = store.ready()
    denylist.heartbeat(0)
    here = denylist.heartbeat(0)
    assert denylist.tail(here, block=0) == []
    for stranger in (
        Position("another-epoch", here.seq, here.chain),
        Position(here.epoch, here.seq + 1, here.chain),
        Position(here.epoch, here.seq, "0" * 40),
    ):
        with pytest.raises(FeedGap):
            denylist.tail(stranger, block=0)


def test_the_feed_is_kept_for_its_window(store: Store, clock: HandClock) -> None:
    """A heartbeat trims what is older than the window; a reader from before has a gap."""
    denylist = store.ready(clock, feed_window=10, feed_cap=1_000)
    positions = [start_of(denylist)]
    for _ in range(4):
        positions.append(denylist.heartbeat(0))
        clock.advance(5)
    # The items are 20, 15, 10 and 5 seconds old; exactly the window is not past it.
    denylist.heartbeat(0)
    for stale in positions[:2]:
        with pytest.raises(FeedGap):
            denylist.tail(stale, block=0)
    assert [item.seq for item in denylist.tail(positions[2], block=0)] == [3, 4, 5]


def test_the_feed_is_capped(store: Store, clock: HandClock) -> None:
    """However much is added in a moment, the cap holds to within one block of the stream."""
    denylist = store.ready(clock, feed_window=900, feed_cap=200)
    positions = [start_of(denylist)]
    positions += [denylist.add([Entry.key(f"k{n}")]) for n in range(500)]
    denylist.heartbeat(0)
    for early in (positions[0], positions[200]):
        with pytest.raises(FeedGap):
            denylist.tail(early, block=0)
    assert [item.seq for item in denylist.tail(positions[400], block=0)] == list(range(401, 502))
