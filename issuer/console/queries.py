"""What the pages show, as SQL has it: thin functions, each one query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import sqlalchemy as sa

from ..audit import Event, EventKind, Outcome
from ..audit.refusals import others
from ..database.engine import reading
from ..database.tables import accounts, audit_log, audit_sessions, journal

PAGE = 50
"""Rows on a page."""


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session that goes on, and whose it is. Times in seconds since the epoch."""

    sid: str
    sub: str
    username: str
    client_id: str
    started: int
    last_seen: int
    ends: int
    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class Live:
    """How many there are, and one page of them."""

    sessions: int
    people: int
    page: list[LiveSession]


def live_sessions(engine: sa.Engine, now: float, *, name: str = "", page: int = 1) -> Live:
    """Who is signed in, those first who were seen last; `name` begins their names."""
    goes_on = sa.and_(_goes_on(now), accounts.c.username.startswith(name, autoescape=True))
    both = audit_sessions.join(accounts, accounts.c.id == audit_sessions.c.sub)
    counted = sa.select(
        sa.func.count(), sa.func.count(sa.distinct(audit_sessions.c.sub))
    ).select_from(both)
    listed = (
        sa.select(audit_sessions, accounts.c.username)
        .select_from(both)
        .order_by(audit_sessions.c.last_seen.desc(), audit_sessions.c.sid)
        .limit(PAGE)
        .offset((page - 1) * PAGE)
    )
    with reading(engine) as connection:
        sessions, people = connection.execute(counted.where(goes_on)).one()
        rows = connection.execute(listed.where(goes_on)).all()
    return Live(
        sessions,
        people,
        [
            LiveSession(
                sid=row.sid,
                sub=row.sub,
                username=row.username,
                client_id=row.client_id,
                started=row.started,
                last_seen=row.last_seen,
                ends=row.ends,
                address=row.address,
                user_agent=row.user_agent,
            )
            for row in rows
        ],
    )


def live_by_client(engine: sa.Engine, now: float) -> dict[str, int]:
    """How many sessions go on with each client that has any."""
    both = audit_sessions.join(accounts, accounts.c.id == audit_sessions.c.sub)
    query = (
        sa.select(audit_sessions.c.client_id, sa.func.count())
        .select_from(both)
        .where(_goes_on(now))
        .group_by(audit_sessions.c.client_id)
    )
    with reading(engine) as connection:
        return {str(client_id): count for client_id, count in connection.execute(query)}


def _goes_on(now: float) -> sa.ColumnElement[bool]:
    return sa.and_(
        audit_sessions.c.ends > int(now),
        audit_sessions.c.credential_version == accounts.c.credential_version,
        accounts.c.enabled,
    )


@dataclass(frozen=True, slots=True)
class Person:
    """An account as a list shows it."""

    sub: str
    username: str
    enabled: bool


def people(engine: sa.Engine, name: str) -> list[Person]:
    """Accounts whose names begin so, a page at the most."""
    query = (
        sa.select(accounts.c.id, accounts.c.username, accounts.c.enabled)
        .where(accounts.c.username.startswith(name, autoescape=True))
        .order_by(accounts.c.username)
        .limit(PAGE)
    )
    with reading(engine) as connection:
        return [
            Person(row.id, row.username, bool(row.enabled)) for row in connection.execute(query)
        ]


def names_of(engine: sa.Engine, subs: set[str]) -> dict[str, str]:
    """The names of some accounts, where there are such."""
    query = sa.select(accounts.c.id, accounts.c.username).where(accounts.c.id.in_(sorted(subs)))
    with reading(engine) as connection:
        return {row.id: row.username for row in connection.execute(query)}


def denylist_now(engine: sa.Engine, now: float) -> dict[str, int]:
    """How many revocations of each kind can still hit a token."""
    query = (
        sa.select(journal.c.kind, sa.func.count().label("entries"))
        .where(journal.c.expires > int(now))
        .group_by(journal.c.kind)
    )
    with reading(engine) as connection:
        return {row.kind: row.entries for row in connection.execute(query)}


FAILURES = (
    EventKind.LOGIN,
    EventKind.PASSWORD_REFUSED,
    EventKind.FACTOR_REFUSED,
    EventKind.CLIENT_REFUSED,
    EventKind.REFRESH_REFUSED,
)
"""Somebody was refused; a login counts where its outcome is a failure."""
BLOCKS = (EventKind.LOGIN_LIMITED, EventKind.REUSE_DETECTED)
"""Somebody was kept out, or a session ended."""
ALARMS = (EventKind.ANOMALY,)
"""Something looked wrong, whatever was done about it."""


def trouble(engine: sa.Engine, since: int, until: int, step: int) -> Mapping[tuple[int, str], int]:
    """How many events of trouble there were, by the beginning of each step and by their kind."""
    # As a literal: PostgreSQL takes two parameters for two different ones.
    bucket = (audit_log.c.time // sa.literal_column(str(step * 1000), sa.BigInteger)).label("begun")
    wanted = (
        audit_log.c.time >= since * 1000,
        audit_log.c.time < until * 1000,
        audit_log.c.kind.in_([*FAILURES, *BLOCKS, *ALARMS]),
        sa.or_(audit_log.c.kind != EventKind.LOGIN, audit_log.c.outcome == Outcome.FAILURE),
    )
    counted = (
        sa.select(bucket, audit_log.c.kind, sa.func.count())
        .where(*wanted)
        .group_by(bucket, audit_log.c.kind)
    )
    # An event of a flood stands for the rest of its minute, too (`issuer.audit.refusals`).
    sums = sa.select(bucket, audit_log.c.kind, audit_log.c.body).where(
        *wanted, audit_log.c.body.contains('"more":', autoescape=True)
    )
    found = Counter[tuple[int, str]]()
    with reading(engine) as connection:
        for begun, kind, count in connection.execute(counted):
            found[int(begun) * step, str(kind)] += count
        for begun, kind, body in connection.execute(sums):
            with suppress(ValueError):
                found[int(begun) * step, str(kind)] += others(Event.from_json(body))
    return found
