"""The log itself: events in one order over all issuers, each chained to the one before.

Appending takes the events of a process and those in the outbox in one transaction, under a lock on
the log's head. What has been appended before is left out: whoever is in doubt appends again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
import structlog

from ..database.engine import insert_if_absent, reading, writing
from ..database.tables import audit_head, audit_log, audit_outbox
from . import live_sessions
from .addresses import Treat
from .chain import GENESIS, ChainKeys, random_salt
from .columns import columns_of
from .consumer import Recorded
from .event import Event, EventKind, Outcome

log = structlog.get_logger("gatepass.issuer")

BATCH = 500
FORGED = "forged"
"""Of a redaction that no issuer has written; it says of no row that it was taken out."""
_HEAD = 1

# Built once: building a statement takes longer than running it, and here are several for an event.
_WAITING = (
    sa.select(audit_outbox)
    .where(audit_outbox.c.id > sa.bindparam("after"))
    .order_by(audit_outbox.c.id)
    .limit(BATCH)
)
_STILL_THERE = sa.select(audit_outbox.c.id).where(
    audit_outbox.c.id.in_(sa.bindparam("ids", expanding=True))
)
_KNOWN = sa.select(audit_log.c.event_id).where(
    audit_log.c.event_id.in_(sa.bindparam("ids", expanding=True))
)
_LOCK = sa.select(audit_head.c.id).with_for_update()  # SQLite's writers take turns from BEGIN
_READ_HEAD = sa.select(audit_head)
_APPEND = sa.insert(audit_log)
_MOVE_HEAD = sa.update(audit_head).values(seq=sa.bindparam("to"), hash=sa.bindparam("link"))
_AFTER = (
    sa.select(audit_log.c.seq, audit_log.c.body)
    .where(audit_log.c.seq > sa.bindparam("seq"), audit_log.c.body.is_not(None))
    .order_by(audit_log.c.seq)
    .limit(sa.bindparam("most", type_=sa.Integer))
)


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log ends, and the last row before those that are there."""

    seq: int
    hash: str
    base_seq: int = 0
    base_hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class Appended:
    """An event that is in the log now, and its row's hash."""

    recorded: Recorded
    hash: str


class AuditLog:
    """Appends to the log and reads it."""

    def __init__(self, engine: sa.Engine, keys: ChainKeys, treat: Treat) -> None:
        """`treat` is done to each event before it is written."""
        self._engine = engine
        self.keys = keys
        self._treat = treat
        self._unreadable = 0  # the outbox's first such row that was told of

    def append(self, events: Sequence[Event]) -> list[Appended]:
        """Append what is not in the log yet, and a batch of the outbox.

        Raises `DatabaseUnavailable`; whether it was appended then, the next attempt finds out.
        """
        with writing(self._engine) as connection:
            waiting = self._waiting(connection)
            if not events and not waiting:
                return []
            head = _lock_head(connection)
            # Another process may have taken them before it let go of the head.
            there = _still_there(connection, list(waiting))
            pended = {number: event for number, event in waiting.items() if number in there}
            given = sorted([*events, *pended.values()], key=lambda event: event.time)
            appended = self._write(connection, head, _new(connection, given))
            if pended:
                connection.execute(sa.delete(audit_outbox).where(audit_outbox.c.id.in_(pended)))
            return appended

    def _waiting(self, connection: sa.Connection) -> dict[int, Event]:
        """The first events of the outbox, by the numbers of their rows.

        What cannot be read stays, a newer issuer's for one that knows it, and holds up nothing.
        """
        after = unreadable = 0
        first_unreadable = 0
        while True:
            rows = connection.execute(_WAITING, {"after": after}).all()
            found = _readable(rows)
            if len(found) < len(rows) and not first_unreadable:
                first_unreadable = next(row.id for row in rows if row.id not in found)
            unreadable += len(rows) - len(found)
            if found or len(rows) < BATCH:
                break
            after = rows[-1].id
        if first_unreadable != self._unreadable:
            self._unreadable = first_unreadable
            if first_unreadable:
                log.warning("audit_outbox_unreadable", first=first_unreadable, rows=unreadable)
        return found

    def is_waiting(self) -> bool:
        """Whether the outbox holds anything. Raises `DatabaseUnavailable`."""
        with reading(self._engine) as connection:
            return connection.scalar(sa.select(audit_outbox.c.id).limit(1)) is not None

    def _write(
        self, connection: sa.Connection, head: Head, events: Sequence[Event]
    ) -> list[Appended]:
        key = self.keys.current
        appended: list[Appended] = []
        rows = []
        seq, link = head.seq, head.hash
        ended: set[str | None] = set()
        for event in events:
            for one in live_sessions.follow(connection, event, ended):
                kept = self._treat(one.whole())
                seq += 1
                body, salt = kept.to_json(), random_salt()
                digest = key.digest(salt, body)
                link = key.link(link, seq, digest)
                rows.append(
                    {
                        "seq": seq,
                        **columns_of(kept),
                        "body": body,
                        "salt": salt,
                        "digest": digest,
                        "hash": link,
                        "key": key.id,
                    }
                )
                appended.append(Appended(Recorded(seq, kept), link))
        if rows:
            connection.execute(_APPEND, rows)
            connection.execute(_MOVE_HEAD, {"to": seq, "link": link})
        return appended

    def head(self) -> Head:
        """Where the log ends. Raises `DatabaseUnavailable`."""
        with reading(self._engine) as connection:
            return read_head(connection)

    def after(self, seq: int, limit: int = BATCH) -> list[Recorded]:
        """The events after a place, in order; those that were redacted are left out."""
        with reading(self._engine) as connection:
            rows = connection.execute(_AFTER, {"seq": seq, "most": limit})
            return [Recorded(row.seq, Event.from_json(row.body)) for row in rows]


def read_head(connection: sa.Connection) -> Head:
    row = connection.execute(_READ_HEAD).one_or_none()
    if row is None:
        return Head(0, GENESIS)
    return Head(row.seq, row.hash, row.base_seq, row.base_hash)


def _lock_head(connection: sa.Connection) -> Head:
    if connection.scalar(_LOCK) is None:
        insert_if_absent(
            connection,
            audit_head,
            id=_HEAD,
            seq=0,
            hash=GENESIS,
            base_seq=0,
            base_hash=GENESIS,
        )
        connection.scalar(_LOCK)
    return read_head(connection)


def _still_there(connection: sa.Connection, ids: Sequence[int]) -> set[int]:
    return set(connection.scalars(_STILL_THERE, {"ids": ids}))


def _readable(rows: Sequence[sa.Row[Any]]) -> dict[int, Event]:
    found = {}
    for row in rows:
        with suppress(ValueError):
            event = Event.from_json(row.event)
            if event.kind is EventKind.REDACTED:
                # That is chained by whoever takes events out, and comes by no other way: in the
                # name of what lies here anybody who writes to the database could take out any.
                event = replace(event, why=FORGED, outcome=Outcome.FAILURE, details={})
            found[row.id] = event
    return found


def _new(connection: sa.Connection, events: Sequence[Event]) -> list[Event]:
    there = set(connection.scalars(_KNOWN, {"ids": [event.id for event in events]}))
    new = []
    for event in events:
        if event.id not in there:
            there.add(event.id)
            new.append(event)
    return new
