"""Whatever is done to the log by somebody who can write to the database shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from issuer.audit import Event, EventKind
from issuer.audit.chain import ChainKey, ChainKeys
from issuer.audit.columns import columns_of
from issuer.audit.event import Outcome
from issuer.audit.log import AuditLog
from issuer.audit.verifying import verify
from issuer.database.tables import audit_head, audit_log

Tamper = Callable[[sa.Connection], object]


@pytest.fixture
def filled(log: AuditLog, some_events: Callable[..., list[Event]]) -> AuditLog:
    """A log of ten events, from two appends."""
    events = some_events(10)
    log.append(events[:4])
    log.append(events[4:])
    return log


def problems(engine: sa.Engine, keys: ChainKeys) -> list[str]:
    return verify(engine, keys).problems


def test_a_log_that_nobody_touched_is_intact(
    filled: AuditLog, audit_engine: sa.Engine, keys: ChainKeys
) -> None:
    """Every event verified, the end as it was noted."""
    head = filled.head()
    found = verify(audit_engine, keys, expected=(head.seq, head.hash))
    assert (found.intact, found.verified, found.keyed) == (True, 10, True)
    assert found.head == head


def _rewrite(connection: sa.Connection, seq: int, **changes: object) -> None:
    """Alter an event and all that is derived from it, but for what is keyed."""
    body = connection.scalar(sa.select(audit_log.c.body).where(audit_log.c.seq == seq))
    event = replace(Event.from_json(str(body)), **changes)  # type: ignore[arg-type]
    connection.execute(
        sa.update(audit_log)
        .where(audit_log.c.seq == seq)
        .values(body=event.to_json(), **columns_of(event))
    )


def _set(seq: int, **values: object) -> Tamper:
    return lambda connection: connection.execute(
        sa.update(audit_log).where(audit_log.c.seq == seq).values(**values)
    )


def _delete(*wanted: sa.ColumnElement[bool]) -> Tamper:
    return lambda connection: connection.execute(sa.delete(audit_log).where(*wanted))


def _swap(connection: sa.Connection) -> None:
    names = ("time", "event_id", "sub", "body", "salt", "digest")
    columns = [audit_log.c[name] for name in names]
    first, second = (
        connection.execute(sa.select(*columns).where(audit_log.c.seq == seq)).one()
        for seq in (3, 4)
    )
    _set(3, event_id="x")(connection)
    _set(4, **first._asdict())(connection)
    _set(3, **second._asdict())(connection)


def _forge(key: ChainKey) -> Tamper:
    """Append an event of one's own, with a chain made under some key."""

    def append(connection: sa.Connection) -> None:
        head = connection.execute(sa.select(audit_head)).one()
        event = Event(kind=EventKind.LOGIN, time=1.0, sub="person-0")
        digest = key.digest("salt", event.to_json())
        link = key.link(head.hash, head.seq + 1, digest)
        connection.execute(
            sa.insert(audit_log).values(
                seq=head.seq + 1,
                **columns_of(event),
                body=event.to_json(),
                salt="salt",
                digest=digest,
                hash=link,
                key=key.id,
            )
        )
        connection.execute(sa.update(audit_head).values(seq=head.seq + 1, hash=link))

    return append


def _cut(connection: sa.Connection) -> None:
    """Take the last three away, and say that the log ends there."""
    _delete(audit_log.c.seq > 7)(connection)
    last = connection.scalar(sa.select(audit_log.c.hash).where(audit_log.c.seq == 7))
    connection.execute(sa.update(audit_head).values(seq=7, hash=last))


def _cut_the_beginning(connection: sa.Connection) -> None:
    last = connection.scalar(sa.select(audit_log.c.hash).where(audit_log.c.seq == 3))
    _delete(audit_log.c.seq <= 3)(connection)
    connection.execute(sa.update(audit_head).values(base_seq=3, base_hash=last))


def _empty(connection: sa.Connection) -> None:
    names = [column.name for column in audit_log.columns]
    kept = {"seq", "digest", "hash", "key"}
    _set(5, **dict.fromkeys(name for name in names if name not in kept))(connection)


TAMPERED: dict[str, tuple[Tamper, str]] = {
    "an event altered": (lambda c: _rewrite(c, 5, outcome=Outcome.FAILURE), "5 was altered"),
    "an event about another": (lambda c: _rewrite(c, 5, sub="person-9"), "5 was altered"),
    "found under another name": (_set(5, sub="person-9"), "5 would be found under"),
    "not found by its time": (_set(5, time=1), "5 would be found under"),
    "an event removed": (_delete(audit_log.c.seq == 5), "events 5 to 5 are missing"),
    "two events swapped": (_swap, "does not follow"),
    "the digest altered": (_set(5, digest="0" * 64), "does not follow"),
    "the hash altered": (_set(5, hash="0" * 64), "does not follow"),
    "another salt": (_set(5, salt="another"), "5 was altered"),
    "an event emptied": (_empty, "5 was taken out, and no event says by whom"),
    "an event forged under no secret": (_forge(ChainKey.of(None)), "a secret that is not known"),
    "one forged under another secret": (_forge(ChainKey.of("guess" * 9)), "not known here"),
    "one that claims our secret": (
        _forge(replace(ChainKey.of("guess" * 9), id=ChainKey.of("zinc ferry 20 plover anvil").id)),
        "11 was altered",
    ),
    "the last ones removed": (_delete(audit_log.c.seq > 7), "ends at 7, and should at 10"),
    "the first ones removed": (_cut_the_beginning, "until 3 are gone, and no event says why"),
    "all removed": (_delete(), "ends at 0, and should at 10"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_shows(
    filled: AuditLog, audit_engine: sa.Engine, keys: ChainKeys, name: str
) -> None:
    """The table: each is told, with its place."""
    tamper, told = TAMPERED[name]
    assert filled.head().seq == 10
    with audit_engine.begin() as connection:
        tamper(connection)
    assert any(told in problem for problem in problems(audit_engine, keys))


def test_a_cut_end_shows_against_what_was_noted(
    filled: AuditLog, audit_engine: sa.Engine, keys: ChainKeys
) -> None:
    """By itself a shorter log is a log; the end that somebody noted before tells."""
    head = filled.head()
    with audit_engine.begin() as connection:
        _cut(connection)
    assert problems(audit_engine, keys) == []
    (told,) = verify(audit_engine, keys, expected=(head.seq, head.hash)).problems
    assert "ends at 7" in told
    (told,) = verify(audit_engine, keys, expected=(7, "0" * 64)).problems
    assert "another hash" in told


def test_a_former_secret_verifies_what_it_was_used_for(
    log: AuditLog, audit_engine: sa.Engine, some_events: Callable[..., list[Event]]
) -> None:
    """After a change of the secret both must be known."""
    log.append(some_events(2))
    later = ChainKeys("another secret, of 22 or more", ["zinc ferry 20 plover anvil"])
    AuditLog(audit_engine, later, lambda event: event).append(some_events(2))
    assert problems(audit_engine, later) == []
    assert "not known here" in problems(audit_engine, ChainKeys("another secret, of 22 or more"))[0]
