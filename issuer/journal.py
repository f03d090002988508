"""The journal: every revocation is a row in SQL before it is anything else.

Redis is the fast way to the gateways, SQL is the truth: a denylist that was lost is filled from
here, and whoever finds an undone row completes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from revocation import Entry, Kind, Position

from .audit.event import Event, EventKind
from .audit.live_sessions import ENDS_BELOW
from .audit.outbox import happened, pend
from .database.engine import insert_if_absent, reading, writing
from .database.tables import access_lifetimes, journal
from .positions import move_position

OPEN_ENDED = (Kind.SESSION, Kind.SUBJECT, Kind.CLIENT)
"""Kinds that hit tokens until the moment of their commit, and so must outlive the last of them."""

PRUNE_BATCH = 1000
"""Rows dropped in one transaction: SQLite's write lock is held for milliseconds."""

SESSION_ENDED = sa.exists().where(
    journal.c.kind == Kind.SESSION.value, journal.c.value == sa.bindparam("sid")
)
"""Whether the journal holds a session's end: part of the query that reads the account."""

CLIENT_WATERMARK = (
    sa.select(sa.func.max(journal.c.level))
    .where(
        journal.c.kind == Kind.CLIENT.value,
        journal.c.value.in_([sa.bindparam("client_id"), sa.bindparam("audience")]),
    )
    .scalar_subquery()
)
"""Until when, at the latest, a client or its audience was revoked: part of the same query."""

# Built once: building them takes longer than running them, and a revocation runs each of them.
_APPEND = sa.insert(journal)


def _at_least(column: sa.Column[int]) -> sa.ColumnElement[int]:
    least = sa.bindparam("least_expires", type_=sa.BigInteger)
    earlier = sa.and_(journal.c.kind.in_(OPEN_ENDED), column < least)
    return sa.case((earlier, least), else_=column)


_MARK_DONE = (
    sa.update(journal)
    .where(
        journal.c.id.in_(sa.bindparam("ids", expanding=True)),
        # SQLite gives the number of a row that was pruned to another one.
        journal.c.value.in_(sa.bindparam("values", expanding=True)),
    )
    .values(
        done=True,
        expires=_at_least(journal.c.expires),
        kept_until=_at_least(journal.c.kept_until),
    )
)
_ROWS = sa.select(journal).order_by(journal.c.id)
_OF_IDS = _ROWS.where(journal.c.id.in_(sa.bindparam("ids", expanding=True)))
_OF_ONE = _ROWS.where(
    journal.c.kind == sa.bindparam("kind"), journal.c.value == sa.bindparam("value")
)
_UNDONE = _ROWS.where(sa.not_(journal.c.done))
_UNDONE_OF = _UNDONE.where(
    sa.or_(
        sa.and_(journal.c.kind == Kind.SUBJECT.value, journal.c.value == sa.bindparam("of")),
        journal.c.sub == sa.bindparam("of"),
    )
)
# In the order of its index: by id, SQLite would read the whole table for it.
_IN_FORCE = (
    sa.select(journal).where(journal.c.expires > sa.bindparam("now")).order_by(journal.c.expires)
)
_LONGEST_LIFETIME = sa.select(sa.func.max(access_lifetimes.c.seconds)).where(
    access_lifetimes.c.in_force_until + access_lifetimes.c.seconds > sa.bindparam("now")
)


class Reason(StrEnum):
    """Why something was revoked."""

    LOGOUT = "logout"
    LOGOUT_EVERYWHERE = "logout_everywhere"
    REUSE = "reuse"
    ROLLBACK = "rollback"
    PASSWORD_CHANGE = "password_change"  # noqa: S105 - the name of a reason
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of a reason
    FACTOR_CHANGE = "factor_change"
    DISABLED = "disabled"
    ROLES = "roles"
    VERSION = "version"
    CLIENT = "client"
    KEY = "key"
    RFC7009 = "rfc7009"
    OPERATOR = "operator"
    RESTORE = "restore"
    TOO_MANY = "too_many"
    ANOMALY = "anomaly"
    ELEVATED = "elevated"
    """Another session took its place."""
    DEVICE = "device"
    """It was used from another device than its client's policy allows."""


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One revocation as it was journalled."""

    id: int
    entry: Entry
    sub: str | None
    reason: str
    done: bool = False


class Journal:
    """Reads and writes the journal."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._clock = clock

    def append(
        self, entry: Entry, *, reason: Reason, kept_until: int | None = None, sub: str | None = None
    ) -> int:
        """Write a row in a transaction of its own; returns its id. Raises `DatabaseUnavailable`."""
        with writing(self._engine) as connection:
            return append_row(
                connection,
                entry,
                reason=reason,
                now=self._clock(),
                kept_until=kept_until,
                sub=sub,
            )

    def get(self, row_ids: Sequence[int]) -> list[JournalRow]:
        with reading(self._engine) as connection:
            return _rows(connection, _OF_IDS, ids=row_ids)

    def mark_done(
        self,
        rows: Sequence[JournalRow],
        *,
        least_expires: int,
        moved: tuple[Position | None, Position] | None = None,
    ) -> bool:
        """Note that rows have reached the denylist, with this expiry where theirs was earlier.

        `moved` is the position from which, and to which, that took the feed. False, and nothing is
        noted, where another issuer has moved it meanwhile.
        """
        with writing(self._engine) as connection:
            if moved is not None and not move_position(connection, *moved):
                return False
            given = {
                "ids": [row.id for row in rows],
                "values": [row.entry.value for row in rows],
                "least_expires": least_expires,
            }
            connection.execute(_MARK_DONE, given)
            return True

    def undone(self, *, limit: int = 500) -> list[JournalRow]:
        """Rows that have not reached the denylist, oldest first."""
        with reading(self._engine) as connection:
            return _rows(connection, _UNDONE.limit(limit))

    def undone_of(self, sub: str) -> list[JournalRow]:
        """A subject's undone rows: a login completes them before it answers."""
        with reading(self._engine) as connection:
            return _rows(connection, _UNDONE_OF, of=sub)

    def in_force(self) -> list[JournalRow]:
        """Every row whose denylist entry has not expired, for a replay."""
        with reading(self._engine) as connection:
            return _rows(connection, _IN_FORCE, now=int(self._clock()))

    def ended_among(self, sids: Sequence[str]) -> frozenset[str]:
        """Those of some sessions that have been ended."""
        with reading(self._engine) as connection:
            rows = connection.execute(
                sa.select(journal.c.value).where(
                    journal.c.kind == Kind.SESSION, journal.c.value.in_(sids)
                )
            )
            return frozenset(row.value for row in rows)

    def client_watermark(self, client_id: str, audience: str) -> int:
        """Until when, in seconds, a client or its audience was revoked; -1 where neither was."""
        given = {"client_id": client_id, "audience": audience}
        with reading(self._engine) as connection:
            found = connection.scalar(sa.select(CLIENT_WATERMARK), given)
        return -1 if found is None else int(found)

    def find(self, kind: Kind, value: str) -> list[JournalRow]:
        """The rows of one revocation; none if there was none."""
        with reading(self._engine) as connection:
            return _rows(connection, _OF_ONE, kind=kind.value, value=value)

    def prune(self) -> int:
        """Drop rows past their time, `PRUNE_BATCH` at most; returns how many."""
        past = sa.and_(journal.c.kept_until <= int(self._clock()), journal.c.done)
        some = sa.select(journal.c.id).where(past).limit(PRUNE_BATCH)
        with writing(self._engine) as connection:
            result = connection.execute(sa.delete(journal).where(journal.c.id.in_(some)))
            return result.rowcount

    def note_lifetime(self, seconds: int, *, ahead: int) -> None:
        """Record that access tokens of this lifetime are issued now and for `ahead` seconds."""
        now = int(self._clock()) + ahead
        with writing(self._engine) as connection:
            updated = connection.execute(
                sa.update(access_lifetimes)
                .where(
                    access_lifetimes.c.seconds == seconds, access_lifetimes.c.in_force_until < now
                )
                .values(in_force_until=now)
            )
            if not updated.rowcount:
                insert_if_absent(connection, access_lifetimes, seconds=seconds, in_force_until=now)

    def longest_lifetime(self) -> int:
        """The longest lifetime of any access token that can still be out, seconds; 0 if none."""
        with reading(self._engine) as connection:
            return int(connection.scalar(_LONGEST_LIFETIME, {"now": int(self._clock())}) or 0)


def append_row(
    connection: sa.Connection,
    entry: Entry,
    *,
    reason: Reason | str,
    now: float,
    kept_until: int | None = None,
    sub: str | None = None,
    ends_below: int | None = None,
) -> int:
    """Write a row, and the event of it, within the caller's transaction; returns its id.

    `ends_below`: the subject's sessions of a lower credential version end by it.
    """
    row = {
        "kind": entry.kind.value,
        "value": entry.value,
        "level": entry.level,
        "expires": entry.expires,
        "kept_until": entry.expires if kept_until is None else max(kept_until, entry.expires),
        "sub": sub,
        "reason": str(reason),
        "created": int(now),
        "done": False,
    }
    result = connection.execute(_APPEND, row)
    pend(connection, _event_of(entry, str(reason), now, sub, ends_below))
    primary_key = result.inserted_primary_key
    assert primary_key is not None  # noqa: S101 - an insert of one row has a key
    return int(primary_key[0])


def _event_of(
    entry: Entry, reason: str, now: float, sub: str | None, ends_below: int | None
) -> Event:
    match entry.kind:
        case Kind.SESSION:
            return happened(EventKind.SESSION_ENDED, now, why=reason, sub=sub, sid=entry.value)
        case Kind.SUBJECT:
            details: dict[str, str | int] = {"what": "subject", "least_sub_ver": entry.level}
            if ends_below is not None:
                details[ENDS_BELOW] = ends_below
            return happened(EventKind.REVOKED, now, why=reason, sub=entry.value, details=details)
        case Kind.CLIENT:
            details = {"what": "client", "until": entry.level}
            return happened(
                EventKind.REVOKED, now, why=reason, client_id=entry.value, details=details
            )
    details = {"what": entry.kind.value, "value": entry.value}
    return happened(EventKind.REVOKED, now, why=reason, sub=sub, details=details)


def _rows(connection: sa.Connection, query: sa.Select[Any], **given: Any) -> list[JournalRow]:
    return [
        JournalRow(
            id=row.id,
            entry=Entry(Kind(row.kind), row.value, row.level, row.expires),
            sub=row.sub,
            reason=row.reason,
            done=bool(row.done),
        )
        for row in connection.execute(query, given)
    ]
