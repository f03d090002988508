"""The furthest acknowledged place in the denylist's feed, kept in SQL for every issuer to see.

A Redis that comes back from the past cannot know what it has lost; SQL can. Each value descends
from the one before: it is replaced only by compare-and-swap, by an issuer whose store holds the
old one. So two Redis servers that both believe to lead are found out by the first acknowledgement
on either side.
"""

from __future__ import annotations

import sqlalchemy as sa

from revocation import Position

from .database.engine import insert_if_absent, reading, writing
from .database.tables import denylist_positions

_ROW = 1


class Positions:
    """Reads and moves the position."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def read(self) -> Position | None:
        """The furthest place that was acknowledged; None before the first. One row read.

        Raises `DatabaseUnavailable`.
        """
        with reading(self._engine) as connection:
            query = sa.select(denylist_positions).where(denylist_positions.c.id == _ROW)
            row = connection.execute(query).one_or_none()
        return None if row is None else Position(row.epoch, row.seq, row.chain)

    def move(self, known: Position | None, reached: Position) -> bool:
        """Move on from `known`; False if somebody has moved it meanwhile, or it is there already.

        Raises `DatabaseUnavailable`.
        """
        if known == reached:
            return False
        with writing(self._engine) as connection:
            return move_position(connection, known, reached)


def move_position(connection: sa.Connection, known: Position | None, reached: Position) -> bool:
    """The same within the caller's transaction."""
    new = {"epoch": reached.epoch, "seq": reached.seq, "chain": reached.chain}
    if known is None:
        return insert_if_absent(connection, denylist_positions, id=_ROW, **new)
    moved = connection.execute(
        sa.update(denylist_positions)
        .where(
            denylist_positions.c.id == _ROW,
            denylist_positions.c.epoch == known.epoch,
            denylist_positions.c.seq == known.seq,
            denylist_positions.c.chain == known.chain,
        )
        .values(**new)
    )
    return bool(moved.rowcount)
