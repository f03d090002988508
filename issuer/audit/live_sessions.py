"""Which sessions are there, by what the log tells: who is signed in, and whose end went unseen.

A session that passes its idle or absolute end leaves no trace but its absence in Redis; this table
knows that there was one.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from ..database.engine import insert_if_absent, reading
from ..database.tables import audit_log, audit_sessions
from .columns import kept
from .event import LATEST, Event, EventKind, event_id

ENDS_BELOW = "ends_below"
"""In an event's details: every session of the person with a lower credential version has ended."""

# Built once, as in `log`.
_THIS = audit_sessions.c.sid == sa.bindparam("this")
_REFRESHED = (
    sa.update(audit_sessions)
    .where(_THIS)
    .values(last_seen=sa.bindparam("seen"), ends=sa.bindparam("until"))
)
_READ = sa.select(audit_sessions).where(_THIS)
_DROP = sa.delete(audit_sessions).where(_THIS)
_HAS_ENDED = sa.select(
    sa.exists().where(
        audit_log.c.sid == sa.bindparam("this"), audit_log.c.kind == EventKind.SESSION_ENDED.value
    )
)


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session of whose end the log does not tell. Times in seconds since the epoch."""

    sid: str
    sub: str
    client_id: str
    credential_version: int
    started: int
    last_seen: int
    ends: int
    """The idle or the absolute end, whichever is first."""
    absolute: int
    address: str
    user_agent: str


def follow(connection: sa.Connection, event: Event, ended: set[str | None]) -> list[Event]:
    """Keep the table in step with an event; returns it, completed, and the ends that follow.

    `ended` collects the sessions whose ends the log does not hold yet.
    """
    match event.kind:
        case EventKind.SESSION_STARTED:
            if event.sid not in ended:
                _begin(connection, event)
        case EventKind.SESSION_REFRESHED if (ends := _whole(event, "ends")) is not None:
            seen = {"this": kept(event, "sid"), "seen": int(event.time), "until": ends}
            connection.execute(_REFRESHED, seen)
        case EventKind.SESSION_ENDED | EventKind.SESSION_EXPIRED:
            ended.add(event.sid)
            return [_end(connection, event)]
        case EventKind.CLIENT_DISABLED:
            mine = audit_sessions.c.client_id == kept(event, "client_id")
            return [event, *_end_all(connection, event, mine)]
        case _ if (version := _whole(event, ENDS_BELOW)) is not None:
            mine = sa.and_(
                audit_sessions.c.sub == kept(event, "sub"),
                audit_sessions.c.credential_version < version,
            )
            return [event, *_end_all(connection, event, mine)]
    return [event]


def _end(connection: sa.Connection, event: Event) -> Event:
    mine = {"this": kept(event, "sid")}
    row = connection.execute(_READ, mine).one_or_none()
    if row is None:
        return event
    connection.execute(_DROP, mine)
    return replace(
        event, sub=event.sub or row.sub, client_id=event.client_id or row.client_id or None
    )


def _begin(connection: sa.Connection, event: Event) -> None:
    if not event.sub or kept(event, "sub") != event.sub:
        return
    if not event.sid or kept(event, "sid") != event.sid:
        return
    version, ends, absolute = (
        _whole(event, name) for name in ("credential_version", "ends", "absolute")
    )
    if version is None or ends is None or absolute is None:
        return
    if connection.scalar(_HAS_ENDED, {"this": event.sid}):
        return  # another issuer's word of its end was faster
    insert_if_absent(
        connection,
        audit_sessions,
        sid=event.sid,
        sub=event.sub,
        client_id=kept(event, "client_id"),
        credential_version=version,
        started=int(event.time),
        last_seen=int(event.time),
        ends=ends,
        absolute=absolute,
        address=kept(event, "address"),
        user_agent=kept(event, "user_agent"),
    )


def _whole(event: Event, name: str) -> int | None:
    """A whole number of an event's details, if that is what is there and a column holds it."""
    value = event.details.get(name)
    return value if type(value) is int and 0 <= value <= LATEST else None


def _end_all(connection: sa.Connection, event: Event, mine: sa.ColumnElement[bool]) -> list[Event]:
    ended = connection.execute(
        sa.select(audit_sessions.c.sid, audit_sessions.c.sub, audit_sessions.c.client_id).where(
            mine
        )
    ).all()
    if ended:
        connection.execute(sa.delete(audit_sessions).where(mine))
    return [
        replace(
            event,
            kind=EventKind.SESSION_ENDED,
            why=event.why or event.kind.value,
            sid=row.sid,
            sub=row.sub,
            client_id=row.client_id,
            details={"by": event.id},
            id=event_id(),
        )
        for row in ended
    ]


def past_their_end(engine: sa.Engine, now: float, limit: int) -> list[LiveSession]:
    """Sessions whose end went by, the earliest first. Raises `DatabaseUnavailable`."""
    query = sa.select(audit_sessions).where(audit_sessions.c.ends <= int(now))
    with reading(engine) as connection:
        return [
            LiveSession(**row._asdict())
            for row in connection.execute(query.order_by(audit_sessions.c.ends).limit(limit))
        ]


def expiries(
    sessions: Sequence[LiveSession], end_of: Callable[[str, str], float | None]
) -> Iterator[Event]:
    """What the log should say of sessions past their end as it knows it.

    `end_of` finds a session's present end, None where it is gone. Where it lives on, the log has
    missed a refresh, and is told of the end that is true now.
    """
    for session in sessions:
        found = end_of(session.sub, session.sid)
        common: dict[str, Any] = {
            "sub": session.sub,
            "sid": session.sid,
            "client_id": session.client_id or None,
            "actor": "issuer",
        }
        if found is None:
            yield Event(
                kind=EventKind.SESSION_EXPIRED,
                time=float(session.ends),
                why="idle" if session.ends < session.absolute else "absolute",
                # One event for one session, whoever finds it; of which session, it does not say.
                id=_derived_id(session.sid, "expired"),
                **common,
            )
        else:
            yield Event(
                kind=EventKind.SESSION_REFRESHED,
                time=float(session.last_seen),
                why="missed",
                # Above the second that it ends in, so that it is not found again at once.
                details={"ends": int(found) + 1},
                id=_derived_id(session.sid, str(int(found))),
                **common,
            )


def _derived_id(sid: str, what: str) -> str:
    digest = hashlib.sha256(f"{sid}.{what}".encode()).digest()[:16]
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
