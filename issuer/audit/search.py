"""Finds events, by whatever they can be found under; the newest first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..database.engine import reading
from ..database.tables import audit_log
from .consumer import Recorded
from .event import Event, EventKind, Outcome

_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is looked for: all that is given must fit. Times in seconds since the epoch."""

    kinds: tuple[EventKind, ...] = ()
    outcome: Outcome | None = None
    sub: str | None = None
    account: str | None = None
    """The pseudonym of a user name, under which failed logins are; beside `sub`, either fits."""
    sid: str | None = None
    client_id: str | None = None
    address: str | None = None
    request_id: str | None = None
    since: float | None = None
    until: float | None = None
    text: str = ""
    """Anywhere in the event; letters that are not ASCII as they were written."""
    before: int | None = None
    """Only events before this place: the next page."""

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """The same in SQL."""
        columns = audit_log.c
        exact = {
            columns.sid: self.sid,
            columns.client_id: self.client_id,
            columns.address: self.address,
            columns.request_id: self.request_id,
            columns.outcome: self.outcome and self.outcome.value,
        }
        found: list[sa.ColumnElement[bool]] = [columns.body.is_not(None)]
        found += [column == value for column, value in exact.items() if value is not None]
        if self.kinds:
            found.append(columns.kind.in_([kind.value for kind in self.kinds]))
        person = []
        if self.sub is not None:
            person.append(columns.sub == self.sub)
        if self.account is not None:
            person.append(columns.body.contains(f'"account":"{self.account}"', autoescape=True))
        if person:
            found.append(sa.or_(*person))
        if self.since is not None:
            found.append(columns.time >= int(self.since * 1000))
        if self.until is not None:
            found.append(columns.time < int(self.until * 1000))
        if self.text:
            # As it is written there: JSON escapes quotes, and what is not ASCII.
            escaped = json.dumps(self.text)[1:-1]
            texts = (columns.body.icontains(text, autoescape=True) for text in (self.text, escaped))
            found.append(sa.or_(*texts))
        if self.before is not None:
            found.append(columns.seq < self.before)
        return found


def search(engine: sa.Engine, wanted: Wanted, *, limit: int = 100) -> list[Recorded]:
    """The newest events that fit, newest first. Raises `DatabaseUnavailable`."""
    query = sa.select(audit_log.c.seq, audit_log.c.body).where(*wanted.conditions())
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(audit_log.c.seq.desc()).limit(limit))
        return list(_readable(rows))


def every(engine: sa.Engine, wanted: Wanted) -> Iterator[Recorded]:
    """Every event that fits, the oldest first, however many. Raises `DatabaseUnavailable`."""
    query = sa.select(audit_log.c.seq, audit_log.c.body).where(*wanted.conditions())
    with reading(engine) as connection:
        ordered = query.order_by(audit_log.c.seq).execution_options(yield_per=_BATCH)
        yield from _readable(connection.execute(ordered))


def _readable(rows: Iterable[Any]) -> Iterator[Recorded]:
    for row in rows:
        # Beside a newer issuer, or after a way back: what only that one knows is left out.
        with suppress(ValueError):
            yield Recorded(row.seq, Event.from_json(row.body))
