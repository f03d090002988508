"""The key ring in SQL, encrypted, for several issuers to share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from keys import Envelope, Hold, KeyRing, KeyStoreError

from .crash_points import CrashPoint, reach
from .database import DatabaseUnavailable
from .database.engine import insert_if_absent, reading, writing
from .database.tables import key_rings

_ROW = 1
# What errors name in place of a file.
_PLACE = Path("the database")


class SqlKeyStore:
    """Implements `keys.KeyStore`: one row, and its lock is the exclusion.

    The lock belongs to a transaction, so that an issuer that dies while it rotates leaves the old
    ring and holds nobody up.
    """

    def __init__(
        self,
        engine: sa.Engine,
        secret: str | None,
        *,
        development: bool = False,
        hold: Hold | None = None,
    ) -> None:
        """`secret` is the passphrase; none needs `development`. Raises `keys.KeyStoreError`.

        `hold` gives the private halves that lie elsewhere.
        """
        self._engine = engine
        self._envelope = Envelope(_PLACE, secret, development=development, hold=hold)
        # What was read last: decrypting an unchanged ring again costs a PBKDF2.
        self._last: tuple[bytes, KeyRing] | None = None

    def load(self) -> KeyRing:
        with _as_key_store_errors(), reading(self._engine) as connection:
            return self._open(_octets(connection, sa.select(key_rings.c.octets)))

    def update(self, fn: Callable[[KeyRing], KeyRing]) -> KeyRing:
        with _as_key_store_errors(), writing(self._engine) as connection:
            new = self.update_in(connection, fn)
        reach(CrashPoint.KEYS_COMMITTED)
        return new

    def update_in(self, connection: sa.Connection, fn: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """As `update`, within the caller's transaction."""
        insert_if_absent(connection, key_rings, id=_ROW, octets=b"", written=0)
        # SQLite has locked the whole database by now and ignores FOR UPDATE.
        old = self._open(_octets(connection, sa.select(key_rings.c.octets).with_for_update()))
        new = fn(old)
        if new is not old:
            octets = self._envelope.close(new)
            connection.execute(
                sa.update(key_rings)
                .where(key_rings.c.id == _ROW)
                .values(octets=octets, written=int(time.time()))
            )
            reach(CrashPoint.KEYS_ROW_WRITTEN)
        return new

    def _open(self, octets: bytes) -> KeyRing:
        if not octets:
            return KeyRing()
        last = self._last
        if last is not None and last[0] == octets:
            return last[1]
        ring = self._envelope.open(octets)
        self._last = (octets, ring)
        return ring


def _octets(connection: sa.Connection, query: sa.Select[tuple[bytes]]) -> bytes:
    return connection.scalar(query.where(key_rings.c.id == _ROW)) or b""


@contextmanager
def _as_key_store_errors() -> Iterator[None]:
    try:
        yield
    except DatabaseUnavailable as error:
        raise KeyStoreError(_PLACE, str(error)) from None
