"""Deliveries in SQL: leased by one process at a time, kept until they are done or given up.

A lease is a due time in the future: whoever dies with it loses it by itself. An attempt's outcome
is written down only while its lease is still its own, which the count of attempts tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..database.engine import insert_if_absent, reading, writing
from ..database.tables import deliveries
from .delivery import Delivery, State, Wanted

KEPT = 7 * 86_400
"""Seconds for which what is done is kept: so long nothing is made twice of an event."""
BATCH = 1000
"""Rows dropped, or given up, in one transaction."""
LONGEST_ERROR = 200
ENDING = ("signals", "logout")
"""Channels whose receivers end sessions of their own by what they are told."""
_MS = 1000


@dataclass(frozen=True, slots=True)
class Listed:
    """A delivery as an operator sees it; times in seconds since the epoch."""

    id: int
    target: str
    kind: str
    key: str
    state: str
    attempts: int
    created: float
    due: float
    """When it is tried next, or was done."""
    error: str


class DeliveryQueue:
    """The table of deliveries."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float], *, max_age: float) -> None:
        """`max_age`: seconds for which one is tried."""
        self._engine = engine
        self._clock = clock
        self._max_age = max_age

    def _now(self) -> int:
        return int(self._clock() * _MS)

    def add(self, wanted: Iterable[Wanted]) -> int:
        """Write down what is to be delivered, all or nothing; returns how many were new.

        What is there already, in whatever state, stays as it is. Raises `DatabaseUnavailable`.
        """
        now = self._now()
        with writing(self._engine) as connection:
            return sum(
                insert_if_absent(
                    connection,
                    deliveries,
                    target=each.target,
                    key=each.key,
                    kind=str(each.event.kind),
                    sub=each.event.sub,
                    body=each.event.to_json(),
                    state=State.WAITING,
                    attempts=0,
                    created=now,
                    due=now,
                    gives_up=now + int(self._max_age * _MS),
                    error="",
                )
                for each in wanted
            )

    # --- sending ------------------------------------------------------------------------------

    def due(self) -> list[str]:
        """The targets for which something is due."""
        with reading(self._engine) as connection:
            query = sa.select(deliveries.c.target).where(
                _waiting(), deliveries.c.due <= self._now()
            )
            return list(connection.scalars(query.distinct()))

    def lease(self, target: str, seconds: float) -> Delivery | None:
        """Take what has been due for longest, for so long; None where nothing is."""
        now = self._now()
        first = (
            sa.select(deliveries.c.id)
            .where(_waiting(), deliveries.c.target == target, deliveries.c.due <= now)
            .order_by(deliveries.c.due, deliveries.c.id)
            .limit(1)
            # On SQLite writers take turns from BEGIN on.
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        with writing(self._engine) as connection:
            row = connection.execute(
                sa.update(deliveries)
                .where(deliveries.c.id == first)
                .values(due=now + int(seconds * _MS), attempts=deliveries.c.attempts + 1)
                .returning(deliveries)
            ).one_or_none()
            return None if row is None else _delivery(row)

    def delivered(self, delivery: Delivery) -> bool:
        """Note that the receiver has it; what it was is not kept."""
        return self._note(delivery, state=State.DELIVERED, body="", error="")

    def failed(self, delivery: Delivery, why: str, *, again_in: float) -> bool:
        """Note why an attempt failed, and when the next one is due."""
        due = self._now() + int(again_in * _MS)
        return self._note(delivery, due=due, error=why[:LONGEST_ERROR])

    def give_up(self, delivery: Delivery, why: str) -> bool:
        """Note that there will be no other attempt."""
        return self._note(delivery, state=State.GIVEN_UP, error=why[:LONGEST_ERROR])

    def _note(self, delivery: Delivery, **values: Any) -> bool:
        """False where the lease was over, and another process has it by now."""
        values.setdefault("due", self._now())
        mine = sa.and_(
            deliveries.c.id == delivery.id,
            # After a restore another row may have its number.
            deliveries.c.target == delivery.target,
            deliveries.c.key == delivery.key,
            deliveries.c.attempts == delivery.attempts,
            _waiting(),
        )
        with writing(self._engine) as connection:
            return connection.execute(sa.update(deliveries).where(mine).values(values)).rowcount > 0

    # --- polling ------------------------------------------------------------------------------

    def oldest(self, target: str, limit: int) -> list[Delivery]:
        """What a target that polls has not acknowledged, oldest first."""
        query = (
            sa.select(deliveries)
            .where(_waiting(), deliveries.c.target == target)
            .order_by(deliveries.c.due, deliveries.c.id)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [_delivery(row) for row in connection.execute(query)]

    def acknowledge(self, target: str, keys: Sequence[str], refused: dict[str, str]) -> int:
        """Note what a target has, and what it will not take and why; returns how many were new."""
        now = self._now()
        mine = sa.and_(deliveries.c.target == target, _waiting())
        with writing(self._engine) as connection:
            taken = connection.execute(
                sa.update(deliveries)
                .where(mine, deliveries.c.key.in_(keys))
                .values(state=State.DELIVERED, body="", due=now)
            ).rowcount
            for key, why in refused.items():
                taken += connection.execute(
                    sa.update(deliveries)
                    .where(mine, deliveries.c.key == key)
                    .values(state=State.GIVEN_UP, error=why[:LONGEST_ERROR], due=now)
                ).rowcount
        return taken

    # --- looking after it ---------------------------------------------------------------------

    def give_up_old(self) -> list[tuple[str, int]]:
        """Give up what is past its age, `BATCH` at most: of each target, how many."""
        now = self._now()
        some = sa.select(deliveries.c.id).where(_waiting(), deliveries.c.gives_up <= now)
        gone: dict[str, int] = {}
        with writing(self._engine) as connection:
            found = connection.scalars(
                sa.update(deliveries)
                .where(deliveries.c.id.in_(some.limit(BATCH)), _waiting())
                .values(state=State.GIVEN_UP, due=now)
                .returning(deliveries.c.target)
            )
            for target in found:
                gone[target] = gone.get(target, 0) + 1
        return sorted(gone.items())

    def prune(self) -> int:
        """Drop what was done long ago, `BATCH` at most; returns how many."""
        old = deliveries.c.due <= self._now() - KEPT * _MS
        some = sa.select(deliveries.c.id).where(_over(), old).limit(BATCH)
        with writing(self._engine) as connection:
            return connection.execute(
                sa.delete(deliveries).where(deliveries.c.id.in_(some))
            ).rowcount

    def erase(self, sub: str) -> int:
        """Forget what there is about a person (GDPR article 17); returns how many rows.

        Only what ends sessions elsewhere, and waits, stays until its receiver has it: nobody stays
        signed in there because he was erased here.
        """
        needed = sa.and_(
            _waiting(),
            sa.or_(*(deliveries.c.target.startswith(f"{one}:") for one in ENDING)),
        )
        with writing(self._engine) as connection:
            return connection.execute(
                sa.delete(deliveries).where(deliveries.c.sub == sub, sa.not_(needed))
            ).rowcount

    # --- for an operator ----------------------------------------------------------------------

    def listed(
        self,
        *,
        state: str | None = None,
        target: str | None = None,
        sub: str | None = None,
        limit: int = 100,
    ) -> list[Listed]:
        """The newest, of one state, target or account where it is given."""
        query = sa.select(deliveries).order_by(deliveries.c.id.desc()).limit(limit)
        if sub is not None:
            query = query.where(deliveries.c.sub == sub)
        if state is not None:
            query = query.where(deliveries.c.state == state)
        if target is not None:
            query = query.where(deliveries.c.target == target)
        with reading(self._engine) as connection:
            return [_listed(row) for row in connection.execute(query)]

    def retry(self, ids: Sequence[int] | None = None, *, target: str | None = None) -> int:
        """Have what was given up, or waits, tried now and for its whole age again.

        Those of these ids, or all that were given up. Returns how many.
        """
        now = self._now()
        which = (
            deliveries.c.state == State.GIVEN_UP
            if ids is None
            else sa.and_(deliveries.c.id.in_(ids), deliveries.c.state != State.DELIVERED)
        )
        if target is not None:
            which = sa.and_(which, deliveries.c.target == target)
        # The count of attempts goes on: it tells leases apart.
        values = {"state": State.WAITING, "due": now, "gives_up": now + int(self._max_age * _MS)}
        with writing(self._engine) as connection:
            return connection.execute(sa.update(deliveries).where(which).values(values)).rowcount


def _waiting() -> sa.ColumnElement[bool]:
    # As text in the statement, or no planner would use the indexes of those that wait.
    return deliveries.c.state == sa.literal_column(f"'{State.WAITING}'")


def _over() -> sa.ColumnElement[bool]:
    return deliveries.c.state != sa.literal_column(f"'{State.WAITING}'")


def _delivery(row: Any) -> Delivery:
    return Delivery(
        id=row.id,
        target=row.target,
        key=row.key,
        kind=row.kind,
        body=row.body,
        created=row.created / _MS,
        attempts=row.attempts,
    )


def _listed(row: Any) -> Listed:
    return Listed(
        id=row.id,
        target=row.target,
        kind=row.kind,
        key=row.key,
        state=row.state,
        attempts=row.attempts,
        created=row.created / _MS,
        due=row.due / _MS,
        error=row.error,
    )
