"""The log has every event once, in one order, whoever appends and however often."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import sqlalchemy as sa

from issuer.audit import Consumer, Event, EventKind, Recorded
from issuer.audit.addresses import treatment
from issuer.audit.chain import ChainKeys
from issuer.audit.following import Follower
from issuer.audit.log import AuditLog
from issuer.audit.outbox import pend
from issuer.audit.place import LEASE, Place
from issuer.audit.search import Wanted, every, search
from issuer.audit.verifying import verify
from issuer.database.tables import audit_log, audit_outbox


def pended(engine: sa.Engine, events: Sequence[Event]) -> None:
    with engine.begin() as connection:
        for event in events:
            pend(connection, event)


def test_an_event_is_appended_once(
    log: AuditLog, audit_engine: sa.Engine, some_events: Callable[..., list[Event]]
) -> None:
    """Whoever is in doubt appends again: from memory, the outbox, or both."""
    events = some_events(6)
    pended(audit_engine, events[3:])
    assert [one.recorded.seq for one in log.append(events[:4])] == [1, 2, 3, 4, 5, 6]
    assert log.append(events) == []
    assert [recorded.event for recorded in log.after(0)] == events
    assert not log.is_waiting()


def test_what_is_rolled_back_was_never_there(
    log: AuditLog, audit_engine: sa.Engine, some_events: Callable[..., list[Event]]
) -> None:
    """An event of a transaction shares its fate."""
    with audit_engine.connect() as connection:
        pend(connection, some_events(1)[0])
        connection.rollback()
    assert log.append([]) == []


def test_what_a_newer_issuer_pends_waits_for_it(
    log: AuditLog, audit_engine: sa.Engine, some_events: Callable[..., list[Event]]
) -> None:
    """A kind that this version does not know stays in the outbox, and holds up nothing."""
    newer = some_events(1)[0].to_json().replace('"login"', '"teleported"')
    with audit_engine.begin() as connection:
        connection.execute(sa.insert(audit_outbox).values(event=newer))
    assert len(log.append(some_events(2))) == 2
    assert log.is_waiting()


def test_appending_at_once_gives_one_chain(
    audit_engine: sa.Engine, keys: ChainKeys, some_events: Callable[..., list[Event]]
) -> None:
    """Four writers, some events pended by all of them: no gap, no fork, nothing twice."""
    shared = some_events(20)
    own = [some_events(25) for _ in range(4)]
    begin = threading.Barrier(4)

    def write(events: list[Event]) -> None:
        log = AuditLog(audit_engine, keys, treatment("full", keys.current))
        begin.wait()
        for start in range(0, len(events), 5):
            pended(audit_engine, events[start : start + 2])
            log.append([*events[start : start + 5], *shared])

    threads = [threading.Thread(target=write, args=(events,)) for events in own]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = AuditLog(audit_engine, keys, lambda event: event).after(0)
    assert [recorded.seq for recorded in found] == list(range(1, 121))
    ids = [recorded.event.id for recorded in found]
    assert sorted(ids) == sorted(event.id for events in [shared, *own] for event in events)
    assert verify(audit_engine, keys).intact


@pytest.mark.parametrize(
    ("how", "kept"),
    [("full", "192.0.2.7"), ("truncated", "192.0.2.0/24"), ("none", ""), ("pseudonym", None)],
)
def test_of_an_address_is_kept_what_the_settings_say(
    audit_engine: sa.Engine,
    keys: ChainKeys,
    some_events: Callable[..., list[Event]],
    how: str,
    kept: str | None,
) -> None:
    """All, its network, nothing, or what stands for it without telling it."""
    log = AuditLog(audit_engine, keys, treatment(how, keys.current))
    log.append(some_events(2))
    addresses = {recorded.event.address for recorded in log.after(0)}
    if kept is None:
        (kept,) = addresses
        assert len(kept) == 32
        assert treatment(how, ChainKeys("x" * 30).current)(some_events(1)[0]).address != kept
    assert addresses == {kept}
    assert len(search(audit_engine, Wanted(address=kept or None))) == 2


def test_events_are_found_by_what_they_say(
    log: AuditLog, audit_engine: sa.Engine, some_events: Callable[..., list[Event]]
) -> None:
    """The newest first; every filter must fit."""
    events = some_events(6)
    events[5] = replace(
        events[5],
        kind=EventKind.REUSE_DETECTED,
        sid="s" * 22,
        why="100%_sure",
        user_agent='"Mozilla" \\ Küche',
    )
    log.append(events)

    def seqs(**wanted: object) -> list[int]:
        return [one.seq for one in search(audit_engine, Wanted(**wanted))]  # type: ignore[arg-type]

    assert seqs() == [6, 5, 4, 3, 2, 1]
    assert seqs(sub="person-1") == [6, 4, 2]
    assert seqs(sub="person-1", kinds=(EventKind.LOGIN,)) == [4, 2]
    assert seqs(sid="s" * 22) == seqs(text="100%_SURE") == [6]
    assert seqs(text="%") == [6]
    assert seqs(text="Küche") == seqs(text='"Mozilla" \\') == seqs(text='"why":"100') == [6]
    assert seqs(since=events[2].time, until=events[4].time) == [4, 3]
    assert seqs(before=3) == [2, 1]
    assert seqs(address="192.0.2.8") == []


def test_a_search_leaves_out_what_only_a_newer_release_knows(
    log: AuditLog, audit_engine: sa.Engine, some_events: Callable[..., list[Event]]
) -> None:
    """The others are found; whoever follows the log leaves that one to an issuer that knows it."""
    log.append(some_events(3))
    with audit_engine.begin() as connection:
        newer = sa.func.replace(audit_log.c.body, "login", "teleported")
        connection.execute(sa.update(audit_log).where(audit_log.c.seq == 2).values(body=newer))
    assert [one.seq for one in search(audit_engine, Wanted())] == [3, 1]
    assert [one.seq for one in every(audit_engine, Wanted())] == [1, 3]
    with pytest.raises(ValueError, match="teleported"):
        log.after(1)


class Listener:
    """A consumer that can be made to fail."""

    name = "listener"

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.fails = False

    def consume(self, batch: Sequence[Recorded]) -> None:
        self.heard += [recorded.seq for recorded in batch]
        if self.fails:
            raise ConnectionError("not now")


def test_a_follower_is_told_everything_at_least_once(
    log: AuditLog, audit_engine: sa.Engine, some_events: Callable[..., list[Event]]
) -> None:
    """From where it began; a batch on which it failed comes again, to whoever follows then."""
    log.append(some_events(3))
    listener = Listener()
    one: Consumer = listener
    follower = Follower(audit_engine, log, one, lambda: 1000.0)
    follower._place.make()
    assert follower._place.hold()
    assert not follower.step()
    log.append(some_events(2))
    listener.fails = True
    with pytest.raises(ConnectionError):
        follower.step()
    listener.fails = False
    assert follower.step()
    assert not follower.step()
    assert listener.heard == [4, 5, 4, 5]


def test_a_follower_begins_before_anything_happens(
    log: AuditLog,
    audit_engine: sa.Engine,
    some_events: Callable[..., list[Event]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its thread may be late: what came since the start is not before its place."""
    listener = Listener()
    follower = Follower(audit_engine, log, listener, lambda: 1000.0)
    monkeypatch.setattr(Follower, "_work", lambda _: None)
    follower.start()
    log.append(some_events(2))
    follower._place.make()
    assert follower._place.hold()
    assert follower.step()
    assert listener.heard == [1, 2]
    follower.stop()


def test_one_process_follows_at_a_time(audit_engine: sa.Engine) -> None:
    """Until its lease is over, or it lets go; who has lost it moves no place."""
    now = 1000.0
    first, second = (Place(audit_engine, "listener", lambda: now) for _ in range(2))
    first.make()
    second.make()
    assert first.hold()
    assert not second.hold()
    now += LEASE + 1
    assert second.hold()
    assert not first.move(0, 5)
    assert second.move(0, 5)
    assert not first.hold()
    second.release()
    assert first.hold()
    assert first.read() == 5
