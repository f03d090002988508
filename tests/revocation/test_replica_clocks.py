"""What a replica lets go of, by which clocks, and that a wrong clock makes nothing valid again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from harness.denylists import (
    KID,
    HandClock,
    Store,
    Token,
    held_by,
    seconds_until,
)
from harness.processes import short_directory
from harness.replicas import bring_in_step, in_step, refused

from revocation import (
    ClockPutBack,
    Denylist,
    DenylistNotReady,
    Entry,
    Kind,
    Replica,
    ReplicaStale,
    StalePolicy,
)
from revocation.replica import OUTLIVED_BY


@pytest.fixture
def denylist(near_store: Store, clock: HandClock) -> Denylist:
    """A ready denylist in memory and on Redis."""
    return near_store.ready(clock)


def test_what_has_expired_is_swept(denylist: Denylist, near_store: Store, clock: HandClock) -> None:
    """Once both clocks are past its end an entry goes; later ones and those for good stay."""
    replica = in_step(denylist, clock)
    first, second = clock.after(60), clock.after(120)
    denylist.add([Entry.session("s1", first), Entry.session("s2", second), Entry.key("k")])
    replica.step(block=0)
    for moment, size in ((first - 1, 3), (first + 30, 2), (second + 30, 1), (second + 9**9, 1)):
        clock.now = moment
        denylist.heartbeat(0)
        replica.step(block=0)
        assert len(replica) == size
        assert len(held_by(replica)) == size


@pytest.mark.parametrize("which", ["the store's", "its own"])
def test_a_clock_that_jumps_ahead_and_back_loses_nothing(
    near_store: Store, clock: HandClock, which: str
) -> None:
    """One clock alone, a year ahead for a while, sweeps nothing that is still in force."""
    store_clock, own_clock = HandClock(), HandClock()
    denylist = near_store.ready(store_clock)
    replica = Replica(denylist, clock=clock, wall_clock=own_clock)
    bring_in_step(replica, denylist)
    # Through the feed only: what a store whose own clock is wrong still holds is not the point.
    denylist.add([Entry.session(Token.sid, clock.after(600)), Entry.key("k")])
    replica.step(block=0)
    wrong = store_clock if which == "the store's" else own_clock
    for jump in (31_536_000, -31_536_000, 31_536_000, -31_536_000):
        wrong.advance(jump)
        try:
            denylist.heartbeat(0)
        except DenylistNotReady:
            # The store has noticed; nothing is filled in here, so that the replica's copy is all.
            denylist.mark_ready()
            denylist.heartbeat(0)
        for _ in range(3):
            replica.step(block=0)
        assert len(replica) == 2
        assert refused(replica, Token()) is Kind.SESSION
    for right in (store_clock, own_clock):
        right.advance(700)
    denylist.heartbeat(0)
    replica.step(block=0)
    assert len(replica) == 1


@pytest.mark.parametrize("where", ["own memory", "a shared file"])
@pytest.mark.parametrize("policy", StalePolicy)
def test_a_clock_put_back_makes_nothing_valid_that_was_let_go(
    near_store: Store, clock: HandClock, policy: StalePolicy, where: str, shared: Path
) -> None:
    """An hour after the end of a session its entry is gone, and the host's clock is put back.

    The session's token would be valid by that clock again; so would others, and nobody can tell
    which of them were revoked. What lives longer than what was let go is judged as ever.
    """
    store_clock, own_clock = HandClock(), HandClock()
    denylist = near_store.ready(store_clock)
    replica = Replica(
        denylist,
        clock=clock,
        wall_clock=own_clock,
        policy=policy,
        shared=shared if where == "a shared file" else None,
    )
    over, later = Token(exp=clock.after(240)), Token(exp=clock.after(7200))
    with following(replica, denylist):
        denylist.add([Entry.session(Token.sid, over.exp + OUTLIVED_BY)])
        seconds_until(lambda: refused(replica, over) is Kind.SESSION, 30)
        for each in (store_clock, own_clock):
            each.advance(3600)
        seconds_until(lambda: heard(denylist) and len(replica) == 0, 30)
        own_clock.advance(-3600)
        for token in (over, replace(over, sid="C" * 22), replace(over, sub="somebody else")):
            with pytest.raises(ClockPutBack):
                replica.check(token, KID, policy)
        assert refused(replica, later) is None


@pytest.mark.parametrize("where", ["own memory", "a shared file"])
def test_clocks_that_were_both_ahead_are_forgotten_once_they_are_right(
    near_store: Store, clock: HandClock, where: str, shared: Path
) -> None:
    """A day ahead at store and host, it let go of what was in force; put back, it has all again.

    New tokens are judged as ever, and none is refused for a day.
    """
    right = HandClock()
    denylist = near_store.ready(right)
    replica = Replica(
        denylist, clock=clock, wall_clock=right, shared=shared if where != "own memory" else None
    )
    ended, live = Token(exp=clock.after(300)), Token(sid="C" * 22, exp=clock.after(300))
    entry = Entry.session(Token.sid, ended.exp + OUTLIVED_BY)
    with following(replica, denylist):
        denylist.add([entry])
        seconds_until(lambda: refused(replica, ended) is Kind.SESSION, 30)
        right.advance(86_400)
        seconds_until(lambda: heard(denylist) and len(replica) == 0, 30)
        right.advance(-86_400)
        with suppress(DenylistNotReady):
            denylist.heartbeat(0)
        # As an issuer does from its journal.
        denylist.add([entry])
        denylist.mark_ready()
        seconds_until(lambda: heard(denylist) and passes(replica, live), 30)
        assert refused(replica, ended) is Kind.SESSION


def test_a_snapshot_of_a_store_that_was_ahead_is_forgotten_with_its_clock(
    near_store: Store, clock: HandClock
) -> None:
    """While it is ahead nobody can tell what it lacks; afterwards all is read again."""
    store_clock = HandClock()
    denylist = near_store.ready(store_clock)
    store_clock.advance(3600)
    replica = Replica(denylist, clock=clock, wall_clock=clock)
    bring_in_step(replica, denylist)
    token = Token(exp=clock.after(300))
    with pytest.raises(ClockPutBack):
        replica.check(token, KID)
    store_clock.advance(-3600)
    with suppress(DenylistNotReady):
        denylist.heartbeat(0)
    denylist.mark_ready()
    for _ in range(6):
        denylist.heartbeat(0)
        replica.step(block=0)
    assert refused(replica, token) is None


def passes(replica: Replica, token: Token) -> bool:
    try:
        replica.check(token, KID)
    except ReplicaStale:
        return False
    return True


def test_a_host_whose_clock_is_behind_from_the_start_takes_nothing_that_is_over(
    near_store: Store, clock: HandClock
) -> None:
    """What refused it is gone from the store as well."""
    denylist = near_store.ready(clock)
    over = Token(exp=clock.after(-OUTLIVED_BY))
    replica = in_step(denylist, clock)
    with pytest.raises(ClockPutBack):
        replica.check(over, KID)
    assert refused(replica, Token(exp=clock.after(1 - OUTLIVED_BY))) is None


@pytest.fixture
def shared() -> Iterator[Path]:
    """Where a copy's file may be."""
    directory = short_directory("gp-shared-")
    yield directory / "replica"
    shutil.rmtree(directory)


@contextmanager
def following(replica: Replica, denylist: Denylist) -> Iterator[None]:
    """It is started, and in step."""
    replica.start()
    try:
        seconds_until(lambda: heard(denylist) and replica.wait_in_step(0), 30)
        yield
    finally:
        replica.stop()


def heard(denylist: Denylist) -> bool:
    denylist.heartbeat(0)
    return True
