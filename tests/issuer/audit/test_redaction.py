"""What is taken out leaves a chain that verifies, and says that it was taken out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from harness import stacks
from harness.issuer_app import IssuerApp

from issuer.audit import Event, EventKind
from issuer.audit.chain import ChainKeys
from issuer.audit.log import AuditLog
from issuer.audit.outbox import pend
from issuer.audit.redaction import Redaction, to_ranges
from issuer.audit.settings import DAY, AuditSettings
from issuer.audit.verifying import verify
from issuer.database.tables import audit_head, audit_log

NOW = 1_800_000_000.0
SETTINGS = AuditSettings(keep=100 * DAY, keep_kinds={EventKind.SESSION_REFRESHED: 10 * DAY})


def redaction(log: AuditLog, days: float) -> Redaction:
    """One whose time is so many days after the first event."""
    return Redaction(log._engine, log, SETTINGS, lambda: NOW + days * DAY)


def kept(log: AuditLog) -> list[int]:
    """What can still be read, but for what tells of the rest."""
    return [one.seq for one in log.after(0) if one.event.kind is not EventKind.REDACTED]


def test_each_kind_has_its_time(
    log: AuditLog,
    audit_engine: sa.Engine,
    keys: ChainKeys,
    some_events: Callable[..., list[Event]],
) -> None:
    """Refreshes go first, then the rest; both times the log verifies."""
    refreshes = some_events(3, kind=EventKind.SESSION_REFRESHED)
    log.append([*some_events(3), *refreshes])
    assert redaction(log, 9).by_age() == 0
    assert redaction(log, 11).by_age() == 3
    assert len(kept(log)) == 3
    found = verify(audit_engine, keys)
    assert (found.intact, found.redacted, found.verified) == (True, 3, 4)


@stacks.both_databases
def test_an_issuer_takes_out_what_is_over_by_itself(make_issuer: Callable[..., IssuerApp]) -> None:
    """By its settings, within the hour, and nothing that has time left."""
    hour = 3600
    issuer = make_issuer(audit={"keep": 9 * hour, "keep_kinds": {"session_started": 3 * hour}})
    audit = issuer.services.audit

    def kinds() -> set[EventKind]:
        audit._keeper.keep()
        audit.flush()
        return {one.event.kind for one in audit.log.after(0)}

    issuer.login("nobody")
    issuer.grant()
    assert {EventKind.LOGIN, EventKind.SESSION_STARTED} < kinds()
    issuer.clock.advance(4 * hour)
    later = kinds()
    assert EventKind.LOGIN in later
    assert EventKind.SESSION_STARTED not in later
    issuer.clock.advance(6 * hour)
    assert EventKind.LOGIN not in kinds()


def test_an_event_leaves_nothing_of_itself(
    log: AuditLog, audit_engine: sa.Engine, some_events: Callable[..., list[Event]]
) -> None:
    """Its row has a digest that nobody can try texts against: the salt is gone with the text."""
    log.append([some_events(1)[0], *some_events(1, kind=EventKind.SESSION_REFRESHED)])
    redaction(log, 11).by_age()
    with audit_engine.connect() as connection:
        row = connection.execute(sa.select(audit_log).where(audit_log.c.seq == 2)).one()
    assert {name for name, value in row._asdict().items() if value is not None} == {
        "seq",
        "event_id",
        "digest",
        "hash",
        "key",
    }


def test_the_log_does_not_grow_for_ever(
    log: AuditLog,
    audit_engine: sa.Engine,
    keys: ChainKeys,
    some_events: Callable[..., list[Event]],
) -> None:
    """Ten years of a day's events each: rows go, and what is left verifies at any time."""
    day = 0
    for _ in range(30):
        day += 120
        log.append(
            [
                Event(kind=EventKind.LOGIN, time=NOW + day * DAY + second, sub="someone")
                for second in range(5)
            ]
        )
        redaction(log, day).by_age()
        assert verify(audit_engine, keys).problems == []
    with audit_engine.connect() as connection:
        rows = connection.scalar(sa.select(sa.func.count()).select_from(audit_log))
    assert rows is not None
    assert rows < 40
    assert log.head().seq > 150


def test_one_person_is_erased(
    log: AuditLog,
    audit_engine: sa.Engine,
    keys: ChainKeys,
    some_events: Callable[..., list[Event]],
) -> None:
    """Events about the account and failed logins with its name go; another's stay."""
    named = some_events(2, sub=None, details={"account": "a" * 32})
    other = some_events(2, sub=None, details={"account": "b" * 32})
    filters = ({"sub": "person-0"}, {"account": "a" * 32})
    looked = [
        some_events(1, kind=EventKind.AUDIT_READ, sub=None, details={"filters": each})[0]
        for each in filters
    ]
    log.append([*some_events(4), *named, *looked, *other])
    assert redaction(log, 1).by_person("person-0", "a" * 32, log.head().seq) == 6
    left = [one.event for one in log.after(0) if one.seq in kept(log)]
    assert {event.sub for event in left} == {"person-1", None}
    assert [event.details for event in left if event.sub is None] == [{"account": "b" * 32}] * 2
    assert verify(audit_engine, keys).problems == []


def test_what_was_taken_out_does_not_come_back(
    log: AuditLog, some_events: Callable[..., list[Event]]
) -> None:
    """Out of a draft that a process left, or that somebody has put there again."""
    events = some_events(2)
    log.append(events)
    redaction(log, 1).by_person("person-0", "", log.head().seq)
    assert log.append(events) == []
    assert kept(log) == [2]


def test_a_redaction_that_nobody_wrote_down_shows(
    log: AuditLog,
    monkeypatch: pytest.MonkeyPatch,
    audit_engine: sa.Engine,
    keys: ChainKeys,
    some_events: Callable[..., list[Event]],
) -> None:
    """Mutant: rows are emptied without the event of it."""
    log.append(some_events(4))
    monkeypatch.setattr(Redaction, "_note", lambda *_: None)
    redaction(log, 101).by_age()
    assert len(verify(audit_engine, keys).problems) == 4


def test_a_redaction_in_the_outbox_takes_nothing_out(
    log: AuditLog,
    audit_engine: sa.Engine,
    keys: ChainKeys,
    some_events: Callable[..., list[Event]],
) -> None:
    """Whoever writes to the database has an issuer chain it, and empties or drops rows himself."""
    log.append(some_events(4))
    forged = Event(kind=EventKind.REDACTED, time=NOW, why="age", details={"ranges": [[1, 2]]})
    with audit_engine.begin() as connection:
        pend(connection, forged)
    (told,) = log.append([])
    assert (told.recorded.event.why, told.recorded.event.details) == ("forged", {})
    with audit_engine.begin() as connection:
        emptied = dict.fromkeys(("body", "salt", "kind", "sub", "event_id"))
        connection.execute(sa.update(audit_log).where(audit_log.c.seq == 2).values(**emptied))
        first = connection.scalar(sa.select(audit_log.c.hash).where(audit_log.c.seq == 1))
        connection.execute(sa.update(audit_head).values(base_seq=1, base_hash=first))
        connection.execute(sa.delete(audit_log).where(audit_log.c.seq == 1))
    assert verify(audit_engine, keys).problems == [
        "event 2 was taken out, and no event says by whom",
        "events until 1 are gone, and no event says why",
    ]


@pytest.mark.parametrize(
    ("numbers", "ranges"),
    [([], []), ([4], [[4, 4]]), ([1, 2, 3, 7, 9, 10], [[1, 3], [7, 7], [9, 10]])],
)
def test_numbers_are_told_as_ranges(numbers: list[int], ranges: list[list[int]]) -> None:
    """However many in a row, one range."""
    assert to_ranges(numbers) == ranges
