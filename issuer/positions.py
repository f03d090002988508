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
# Built once: every heartbeat reads the position, and every revocation moves it.
_READ = sa.select(denylist_positions).where(denylist_positions.c.id == _ROW)
_MOVE = (
    sa.update(denylist_positions)
    .where(
        denylist_positions.c.id == _ROW,
        denylist_positions.c.epoch == sa.bindparam("known_epoch"),
        denylist_positions.c.seq == sa.bindparam("known_seq"),
        denylist_positions.c.chain == sa.bindparam("known_chain"),
    )
    .values({name: sa.bindparam(f"new_{name}") for name in ("epoch", "seq", "chain")})
)


class Positions:
    """Reads and moves the position."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def read(self) -> Position | None:
        """The furthest place that was acknowledged; None before the first. One row read.

        Raises `DatabaseUnavailable`.
        """
        with reading(self._engine) as connection:
            row = connection.execute(_READ).one_or_none()
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
    if known is None:
        new = {"epoch": reached.epoch, "seq": reached.seq, "chain": reached.chain}
        return insert_if_absent(connection, denylist_positions, id=_ROW, **new)
    places = {
        "known_epoch": known.epoch,
        "known_seq": known.seq,
        "known_chain": known.chain,
        "new_epoch": reached.epoch,
        "new_seq": reached.seq,
        "new_chain": reached.chain,
    }
    return bool(connection.execute(_MOVE, places).rowcount)
