"""Takes events out of the log: their time is over (GDPR art. 5(1)(e)), or a person's are erased.

Their row keeps its digest and its hash, so that the chain can still be verified, and an event of
its own says which rows they were: without that, an empty row is a tampered one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from ..crash_points import CrashPoint, reach
from ..database.engine import reading, writing
from ..database.tables import audit_head, audit_log, audit_sessions
from .event import Event, EventKind
from .log import AuditLog, read_head
from .outbox import happened
from .settings import AuditSettings

BATCH = 2000
"""Rows in one transaction, and ranges in one event."""
_EMPTY: dict[str, Any] = dict.fromkeys(
    column.name
    for column in audit_log.columns
    if column.name not in {"seq", "event_id", "digest", "hash", "key"}
)
"""Its id stays, which says nothing: so an event that comes again, out of a draft, is known."""
_STAYS = (EventKind.REDACTED.value, EventKind.PERSON_ERASED.value)
"""Without these nobody could tell what was taken out."""


def ranges_of(event: Event) -> list[tuple[int, int]]:
    """The rows that a redaction took out, first and last of each range."""
    return [(int(first), int(last)) for first, last in event.details.get("ranges", ())]


def to_ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as ranges."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges


class Redaction:
    """Takes events out, by age or by person."""

    def __init__(
        self,
        engine: sa.Engine,
        audit_log: AuditLog,
        settings: AuditSettings,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._log = audit_log
        self._settings = settings
        self._clock = clock

    def by_age(self) -> int:
        """Take out events whose time is over; returns how many. Raises `DatabaseUnavailable`."""
        total = 0
        for kind, keep in self._settings.keep_kinds.items():
            before = int((self._clock() - keep) * 1000)
            total += self._all(
                [audit_log.c.kind == kind.value, audit_log.c.time < before], f"age:{kind}"
            )
        others = [*_STAYS, *(kind.value for kind in self._settings.keep_kinds)]
        before = int((self._clock() - self._settings.keep) * 1000)
        total += self._all([audit_log.c.kind.not_in(others), audit_log.c.time < before], "age")
        self._drop_the_oldest()
        return total + self._spent()

    def by_person(self, sub: str, account: str, until: int) -> int:
        """Erase a person's events up to a place (GDPR art. 17); returns how many.

        `account` is the pseudonym under which failed logins with the name are written down, if
        it is known.
        """
        # In the details, too: somebody has looked for the person.
        named = audit_log.c.body.contains(f'"sub":"{sub}"', autoescape=True)
        mine = [audit_log.c.sub == sub, named]
        if account:
            mine.append(audit_log.c.body.contains(f'"account":"{account}"', autoescape=True))
        erased = self._all(
            [sa.or_(*mine), audit_log.c.kind.not_in(_STAYS), audit_log.c.seq <= until], "person"
        )
        # Sessions go on: were they not known any more, nobody would be told of their ends.
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(audit_sessions)
                .where(audit_sessions.c.sub == sub)
                .values(address="", user_agent="")
            )
        return erased

    def _all(self, wanted: Sequence[sa.ColumnElement[bool]], why: str) -> int:
        total = 0
        while batch := self._batch(wanted, why):
            total += batch
        return total

    def _batch(self, wanted: Sequence[sa.ColumnElement[bool]], why: str) -> int:
        query = sa.select(audit_log.c.seq).where(audit_log.c.body.is_not(None), *wanted)
        with reading(self._engine) as connection:
            seqs = connection.scalars(query.order_by(audit_log.c.seq).limit(BATCH)).all()
        if not seqs:
            return 0
        # Told first: whoever verifies the log meanwhile, or after a death in between, finds no row
        # that was emptied by nobody.
        self._note(why, to_ranges(seqs))
        reach(CrashPoint.AUDIT_REDACTION_NOTED)
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(audit_log).where(audit_log.c.seq.in_(seqs)).values(**_EMPTY)
            )
        return len(seqs)

    def _drop_the_oldest(self) -> None:
        """Let go of empty rows at the log's beginning; where it begins now is noted."""
        with reading(self._engine) as connection:
            head = read_head(connection)
            first_kept = connection.scalar(
                sa.select(sa.func.min(audit_log.c.seq)).where(audit_log.c.body.is_not(None))
            )
        if first_kept is None or first_kept <= head.base_seq + 1:
            return
        base = first_kept - 1
        # Says of all of them at once that they were taken out.
        self._note("base", [[1, base]])
        with writing(self._engine) as connection:
            last = sa.select(audit_log.c.hash).where(audit_log.c.seq == base)
            connection.execute(
                sa.update(audit_head).values(base_seq=base, base_hash=connection.scalar(last))
            )
            connection.execute(sa.delete(audit_log).where(audit_log.c.seq <= base))

    def _spent(self) -> int:
        """Take out redactions all of whose rows lie before the log's beginning."""
        with reading(self._engine) as connection:
            base = read_head(connection).base_seq
            rows = connection.execute(
                sa.select(audit_log.c.seq, audit_log.c.body)
                .where(
                    audit_log.c.kind == EventKind.REDACTED.value,
                    audit_log.c.time < int((self._clock() - self._settings.keep) * 1000),
                )
                .order_by(audit_log.c.seq)
                .limit(BATCH)
            ).all()
        spent = [
            row.seq
            for row in rows
            if all(last <= base for _, last in ranges_of(Event.from_json(row.body)))
        ]
        # The last one that speaks of the beginning stays.
        return self._all([audit_log.c.seq.in_(spent[:-1])], "age:redacted") if spent[1:] else 0

    def _note(self, why: str, ranges: list[list[int]]) -> None:
        details = {"events": sum(last - first + 1 for first, last in ranges), "ranges": ranges}
        event = happened(EventKind.REDACTED, self._clock(), why=why, details=details)
        self._log.append([event])
