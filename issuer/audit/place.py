"""Places in the log: how far a follower has come, and which process follows for it now.

A lease only spares work. Where clocks differ and two processes follow at once, an event is dealt
with twice, as it may be after a crash, too.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import sqlalchemy as sa

from ..database.engine import insert_if_absent, reading, writing
from ..database.tables import audit_places
from .log import read_head

LEASE = 15
"""Seconds; issuers' clocks may differ by a few."""
_TOO_LONG = 4 * LEASE
_MOVE = (
    sa.update(audit_places)
    .where(
        audit_places.c.name == sa.bindparam("follower"),
        audit_places.c.seq == sa.bindparam("known"),
        audit_places.c.holder == sa.bindparam("by"),
    )
    .values(seq=sa.bindparam("reached"))
)


class Place:
    """One follower's place, and this process's hold of it."""

    def __init__(self, engine: sa.Engine, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self._engine = engine
        self._clock = clock
        self._holder = secrets.token_urlsafe(16)
        self._held_until = 0
        self._reached: int | None = None  # as this process knows it while it holds the lease

    def make(self) -> None:
        """Begin where the log ends now, if nobody has begun yet. Raises `DatabaseUnavailable`."""
        with reading(self._engine) as connection:
            known = sa.select(audit_places.c.seq).where(audit_places.c.name == self.name)
            if connection.scalar(known) is not None:
                return
        with writing(self._engine) as connection:
            insert_if_absent(
                connection,
                audit_places,
                name=self.name,
                seq=read_head(connection).seq,
                holder="",
                held_until=0,
            )

    def hold(self) -> bool:
        """Take or keep the lease; False where another process has it."""
        now = int(self._clock())
        if now < self._held_until - LEASE // 2:
            return True
        with writing(self._engine) as connection:
            taken = connection.execute(
                sa.update(audit_places)
                .where(
                    audit_places.c.name == self.name,
                    sa.or_(
                        audit_places.c.holder == self._holder,
                        audit_places.c.held_until < now,
                        # A clock that was far ahead must not hold it for hours.
                        audit_places.c.held_until > now + _TOO_LONG,
                    ),
                )
                .values(holder=self._holder, held_until=now + LEASE)
            )
        if now >= self._held_until or not taken.rowcount:
            self._reached = None  # somebody else may have had it meanwhile
        self._held_until = now + LEASE if taken.rowcount else 0
        return bool(taken.rowcount)

    def is_held(self) -> bool:
        """Whether this process or another one has the lease."""
        now = int(self._clock())
        query = sa.select(audit_places.c.held_until).where(audit_places.c.name == self.name)
        with reading(self._engine) as connection:
            return now <= (connection.scalar(query) or 0) <= now + _TOO_LONG

    def release(self) -> None:
        """Let another process follow at once."""
        self._held_until = 0
        self._reached = None
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(audit_places)
                .where(audit_places.c.name == self.name, audit_places.c.holder == self._holder)
                .values(held_until=0)
            )

    def read(self) -> int:
        """How far the follower has come."""
        if self._reached is not None:
            return self._reached
        query = sa.select(audit_places.c.seq).where(audit_places.c.name == self.name)
        with reading(self._engine) as connection:
            reached = connection.scalar(query) or 0
        if self._held_until:
            self._reached = reached
        return reached

    def move(self, known: int, reached: int) -> bool:
        """Come further; False where somebody else has meanwhile."""
        with writing(self._engine) as connection:
            moved = connection.execute(
                _MOVE,
                {"follower": self.name, "known": known, "by": self._holder, "reached": reached},
            )
        self._reached = reached if moved.rowcount else None
        return bool(moved.rowcount)
