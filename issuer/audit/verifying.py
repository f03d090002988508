"""Verifies the log: that every event is there, in its place, and as it was written."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa

from ..database.engine import snapshot
from ..database.tables import audit_log
from .chain import ChainKeys, UnknownSecret
from .columns import columns_of
from .event import Event, EventKind
from .log import Head, read_head
from .redaction import ranges_of

_BATCH = 500
_MOST_PROBLEMS = 100


@dataclass(slots=True)
class Verification:
    """What was found. The log is as it was written if there is no problem."""

    head: Head
    verified: int = 0
    redacted: int = 0
    problems: list[str] = field(default_factory=list)
    keyed: bool = True
    """False where there is no secret: whoever writes to the database can make such a chain."""

    @property
    def intact(self) -> bool:
        return not self.problems

    def problem(self, text: str) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(text)


def verify(
    engine: sa.Engine,
    keys: ChainKeys,
    *,
    expected: tuple[int, str] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Verification:
    """Go over all of the log. `expected`: a place and its hash that were noted elsewhere.

    Raises `DatabaseUnavailable`.
    """
    with snapshot(engine) as connection:
        head = read_head(connection)
        found = Verification(head, keyed=keys.current.is_secret)
        walk = _Walk(keys, found)
        query = sa.select(audit_log).order_by(audit_log.c.seq)
        with connection.execute(query.execution_options(yield_per=_BATCH)) as rows:
            for row in rows:
                walk.step(row)
                if expected is not None and row.seq == expected[0] and row.hash != expected[1]:
                    found.problem(f"event {row.seq} has another hash than was noted")
                if walk.rows % _BATCH == 0:
                    progress(walk.rows, head.seq - head.base_seq)
        walk.end()
        if expected is not None and expected[0] > head.seq:
            found.problem(f"the log ends at {head.seq}, before event {expected[0]} that was noted")
        progress(walk.rows, walk.rows)
    return found


class _Walk:
    def __init__(self, keys: ChainKeys, found: Verification) -> None:
        self._keys = keys
        self._found = found
        self._seq = found.head.base_seq
        self._hash = found.head.base_hash
        self._bare: list[int] = []
        self._allowed: list[tuple[int, int]] = []
        self.rows = 0

    def step(self, row: sa.Row[tuple[object, ...]]) -> None:
        self.rows += 1
        if row.seq != self._seq + 1:
            missing = f"{self._seq + 1} to {row.seq - 1}"
            self._found.problem(f"events {missing} are missing")
        self._seq = row.seq
        try:
            key = self._keys.of(row.key)
        except UnknownSecret:
            self._found.problem(f"event {row.seq} is keyed with a secret that is not known here")
            self._hash = row.hash
            return
        link = key.link(self._hash, row.seq, row.digest)
        if not hmac.compare_digest(link, row.hash):
            self._found.problem(f"event {row.seq} does not follow on the one before")
        self._hash = row.hash
        if row.body is None:
            self._bare.append(row.seq)
            return
        if not hmac.compare_digest(key.digest(row.salt or "", row.body), row.digest):
            self._found.problem(f"event {row.seq} was altered")
            return
        try:
            event = Event.from_json(row.body)
        except ValueError:
            # As it was written: by a newer version, whose words this one does not know.
            self._found.verified += 1
            return
        if any(getattr(row, name) != value for name, value in columns_of(event).items()):
            self._found.problem(f"event {row.seq} would be found under what it does not say")
        if event.kind is EventKind.REDACTED:
            self._allowed.extend(ranges_of(event))
        self._found.verified += 1

    def end(self) -> None:
        head = self._found.head
        if (self._seq, self._hash) != (head.seq, head.hash):
            self._found.problem(f"the log ends at {self._seq}, and should at {head.seq}")
        for seq in self._bare:
            if any(first <= seq <= last for first, last in self._allowed):
                self._found.redacted += 1
            else:
                self._found.problem(f"event {seq} was taken out, and no event says by whom")
        if not _cover(self._allowed, head.base_seq):
            self._found.problem(f"events until {head.base_seq} are gone, and no event says why")


def _cover(ranges: list[tuple[int, int]], last: int) -> bool:
    """Whether some ranges hold every number from 1 to `last`."""
    reached = 0
    for first, end in sorted(ranges):
        if first > reached + 1:
            break
        reached = max(reached, end)
    return reached >= last
