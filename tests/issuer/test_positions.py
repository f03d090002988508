"""The acknowledged position in SQL: it moves on one history alone, whoever moves it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from harness import stacks
from harness.issuer_app import IssuerApp, granted, redis_dump, restore_redis

from issuer import revoker as revoking
from issuer.database import DatabaseUnavailable
from issuer.journal import Reason
from issuer.positions import Positions
from revocation import DenylistNotReady, DenylistWentBack, Entry, Position, open_denylist

LATE = 2_000_000_000
FIRST = Position("epoch", 1, "a")


@stacks.both_databases
class TestMoving:
    """Compare and swap."""

    def test_it_begins_once(self, issuer: IssuerApp) -> None:
        """Of those who set the first position, one does."""
        positions = fresh(issuer)
        assert positions.read() is None
        assert positions.move(None, FIRST)
        assert not positions.move(None, replace(FIRST, seq=5))
        assert positions.read() == FIRST

    def test_it_moves_only_from_what_is_there(self, issuer: IssuerApp) -> None:
        """A move from a position that is not the present one, by any part of it, is none."""
        positions = fresh(issuer)
        positions.move(None, FIRST)
        target = Position("epoch", 9, "z")
        for wrong in (
            replace(FIRST, seq=2),
            replace(FIRST, chain="b"),
            replace(FIRST, epoch="other"),
        ):
            assert not positions.move(wrong, target)
        assert positions.read() == FIRST
        assert positions.move(FIRST, target)
        assert not positions.move(FIRST, target)
        assert not positions.move(target, target)
        assert positions.read() == target

    def test_one_of_many_moves_it(self, issuer: IssuerApp) -> None:
        """Of twenty movers from one position exactly one succeeds."""
        positions = fresh(issuer)
        positions.move(None, FIRST)
        with ThreadPoolExecutor(20) as pool:
            moved = list(
                pool.map(lambda n: positions.move(FIRST, Position("epoch", 2 + n, "x")), range(20))
            )
        assert sum(moved) == 1


def fresh(issuer: IssuerApp) -> Positions:
    """Without what the issuer itself has written."""
    from issuer.database.engine import writing
    from issuer.database.tables import denylist_positions

    with writing(issuer.services.engine) as connection:
        connection.execute(denylist_positions.delete())
    return issuer.services.positions


def test_every_acknowledgement_moves_it(issuer: IssuerApp) -> None:
    """After a revocation SQL holds a place in the feed that has the entry before it."""
    services = issuer.services
    before = services.positions.read()
    granted(issuer.revoke(issuer.grant()["access_token"]))
    after = services.positions.read()
    assert before is not None
    assert after is not None
    assert (after.epoch, after.seq) == (before.epoch, before.seq + 1)
    assert services.denylist.add([], after).seq == after.seq


@pytest.mark.usefixtures("unhurried")
def test_acknowledgements_of_many_at_once_are_all_covered(issuer: IssuerApp) -> None:
    """Concurrent revocations all succeed, and the last position comes after every one."""
    services = issuer.services
    entries = [Entry.session(f"{number:021d}A", LATE) for number in range(24)]

    def revoke(entry: Entry) -> bool:
        return services.revoker.revoke(entry, reason=Reason.OPERATOR, kept_until=LATE)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(revoke, entries))
    position = services.positions.read()
    assert position is not None
    assert position.seq == services.denylist.state().position.seq
    assert issuer.undone() == []


@stacks.on_redis
def test_what_a_dead_issuer_acknowledged_is_missed_by_the_next(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """The position outlives who saw it: another issuer finds that the store lacks it."""
    dead, other = make_issuer(), make_issuer()
    other.services.pulse.beat()
    token = dead.grant()["access_token"]
    past = redis_dump(dead.services)
    granted(dead.revoke(token))
    restore_redis(dead.services, past)
    other.clock.advance(2)
    other.services.pulse.beat()
    assert granted(other.introspect(token)) == {"active": False}


@stacks.on_redis
def test_nothing_is_acknowledged_on_a_store_from_the_past(issuer: IssuerApp) -> None:
    """A revocation is refused there, though not forgotten, until the journal has been replayed."""
    services = issuer.services
    past = redis_dump(services)
    granted(issuer.revoke(issuer.grant()["access_token"]))
    restore_redis(services, past)
    late = Entry.session("A" * 22, LATE)
    with pytest.raises(DenylistWentBack):
        services.revoker.revoke(late, reason=Reason.OPERATOR)
    assert issuer.undone() == ["operator"]
    assert not services.denylist.state().ready
    services.pulse.beat()
    services.revoker.complete_undone()
    assert issuer.undone() == []
    assert services.denylist.state().ready
    assert len(list(services.denylist.snapshot().records)) == 2


@stacks.anywhere
def test_two_stores_that_both_believe_to_lead_are_found_out(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two issuers on two copies, the second to acknowledge is told, even at the last moment."""
    services = issuer.services
    position = services.positions.read()
    assert position is not None
    # Another issuer, on another copy, acknowledges between our adding and our noting it.
    theirs = Position(position.epoch, position.seq + 7, "f" * 40)
    mark_done = services.journal.mark_done

    def overtaken(*args: object, **options: object) -> bool:
        monkeypatch.setattr(services.journal, "mark_done", mark_done)
        assert services.positions.move(position, theirs)
        done: bool = mark_done(*args, **options)  # type: ignore[arg-type]
        return done

    monkeypatch.setattr(services.journal, "mark_done", overtaken)
    with pytest.raises(DenylistWentBack):
        services.revoker.revoke(Entry.session("A" * 22, LATE), reason=Reason.OPERATOR)
    assert issuer.undone() == ["operator"]
    services.pulse.beat()
    reached = services.positions.read()
    assert reached is not None
    assert reached.seq > theirs.seq
    services.revoker.complete_undone()
    assert issuer.undone() == []


@stacks.on_redis
def test_a_copy_that_went_on_past_an_entry_is_not_taken_for_the_one_that_has_it(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between adding and noting it another server leads, and another issuer acknowledges there."""
    services = issuer.services
    position = services.positions.read()
    lagging = redis_dump(services)
    mark_done = services.journal.mark_done

    def overtaken(*args: object, **options: object) -> bool:
        monkeypatch.setattr(services.journal, "mark_done", mark_done)
        restore_redis(services, lagging)
        theirs = services.denylist.add([Entry.session("B" * 22, LATE)], position)
        assert services.positions.move(position, theirs)
        done: bool = mark_done(*args, **options)  # type: ignore[arg-type]
        return done

    monkeypatch.setattr(services.journal, "mark_done", overtaken)
    with pytest.raises(DenylistWentBack):
        services.revoker.revoke(Entry.session("A" * 22, LATE), reason=Reason.OPERATOR)
    assert issuer.undone() == ["operator"]
    services.pulse.beat()
    services.revoker.complete_undone()
    assert issuer.undone() == []
    assert len(list(services.denylist.snapshot().records)) == 2


@stacks.on_redis
def test_a_replay_that_a_server_lost_in_its_midst_begins_again(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody vouches for a server that holds the end of a replay and lacks its beginning."""
    services = issuer.services
    for number in range(2):
        entry = Entry.session("AB"[number] * 22, LATE + number)
        services.revoker.revoke(entry, reason=Reason.OPERATOR)
    monkeypatch.setattr(revoking, "_REPLAY_BATCH", 1)
    restore_redis(services, {})
    services.denylist.initialise(watermark=0)
    empty = redis_dump(services)
    add = services.denylist.add
    batches = 0

    def losing(*args: Any, **options: Any) -> Position:
        nonlocal batches
        batches += 1
        if batches == 2:
            restore_redis(services, empty)
        return add(*args, **options)

    monkeypatch.setattr(services.denylist, "add", losing)
    with pytest.raises(DenylistWentBack):
        services.pulse.beat()
    assert not services.denylist.state().ready
    services.pulse.beat()
    assert services.denylist.state().ready
    assert len(list(services.denylist.snapshot().records)) == 2


@stacks.on_redis
def test_a_denylist_that_has_lost_its_feed_is_filled_again(issuer: IssuerApp) -> None:
    """A key that is gone is no reason to wait for an operator."""
    services = issuer.services
    services.revoker.revoke(Entry.session("A" * 22, LATE), reason=Reason.OPERATOR)
    whole = redis_dump(services)
    restore_redis(services, {key: kept for key, kept in whole.items() if b":feed" not in key})
    services.pulse.beat()
    assert services.denylist.state().ready


@stacks.anywhere
def test_heartbeats_go_on_while_the_database_is_away(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gateways need not stop for it; but a store that is emptied meanwhile is not vouched for."""
    services = issuer.services
    services.pulse.beat()

    def away(_self: Positions) -> Position | None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(Positions, "read", away)
    issuer.clock.advance(2)
    before = services.denylist.state().position.seq
    services.pulse.beat()
    assert services.denylist.state().position.seq == before + 1
    services.denylist.replace(watermark=0)
    with pytest.raises(DatabaseUnavailable):
        services.pulse.beat()
    with pytest.raises(DenylistNotReady):
        services.denylist.heartbeat(0)


def test_a_position_is_held_against_the_right_store() -> None:
    """Two denylists of one process do not hold each other's positions."""
    one, two = (open_denylist(f"memory://positions-{name}") for name in ("one", "two"))
    for denylist in (one, two):
        denylist.initialise(watermark=0)
        denylist.mark_ready()
    reached = one.heartbeat(0)
    with pytest.raises(DenylistWentBack):
        two.add([], reached)
