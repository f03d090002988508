"""Reads the copy that another process keeps in a file."""

from __future__ import annotations

import threading

from .packed_table import PackedTable, Word
from .table_storage import Inode, SharedFile, inode_of

_CHANGES = int(Word.CHANGES)
_SEQUENCE, _SUPERSEDED = int(Word.SEQUENCE), int(Word.SUPERSEDED)


class SharedReader:
    """Implements `Copy` on a file that another process writes."""

    def __init__(self, file: SharedFile) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._table: PackedTable | None = None
        self._inode: Inode | None = None
        self._sequence = -1
        self.salt = b""
        self.older_salts: tuple[bytes, ...] = ()
        self.watermark = -1

    @property
    def fresh_at(self) -> float | None:
        """Also takes up what changed in the header, and a new file: asked before all the rest.

        Only then it may take a lock.
        """
        table = self._table
        if table is None or table.words[_SUPERSEDED]:
            table = self._open()
            if table is None:
                return None
        # Before the rest: that is at least as new as this.
        fresh_at = table.fresh_at
        if table.words[_SEQUENCE] != self._sequence:
            self._read(table)
        return fresh_at

    @property
    def changes(self) -> int:
        """As that of the copy; -1 where there is none."""
        return -1 if self._table is None else self._table.words[_CHANGES]

    def level_of(self, key: bytes) -> int:
        """As that of the copy."""
        return 0 if self._table is None else self._table.level_of(key)

    def may_hold(self, keys: tuple[bytes, ...]) -> bool:
        """As that of the copy."""
        return self._table is not None and self._table.may_hold(keys)

    def may_hold_ids(self, ids: bytes) -> bool:
        """As that of the copy."""
        return self._table is not None and self._table.may_hold_ids(ids)

    @property
    def swept(self) -> int:
        """As that of the copy."""
        return 0 if self._table is None else self._table.swept

    def __len__(self) -> int:
        return 0 if self._table is None else len(self._table)

    def look(self) -> None:
        """Find the file that has come in the place of one whose writer died before it said so."""
        if self._table is not None and inode_of(self._file.path) != self._inode:
            self._open()

    def go_on_after_fork(self) -> None:
        """In the child: the thread that held the lock is not here."""
        self._lock = threading.RLock()

    def _open(self) -> PackedTable | None:
        # One at a time: else a slow thread would put an older table in the place of a newer one.
        with self._lock:
            table, inode = self._file.open_with_inode()
            if table is not None:
                self._read(table)
                self._table, self._inode = table, inode
            return table

    def _read(self, table: PackedTable) -> None:
        with self._lock:
            sequence = table.words[_SEQUENCE]
            told = table.told()
            # In this order: another thread's check in between finds an old salt twice, or refuses
            # more, but never loses one.
            self.watermark = max(self.watermark, told.watermark)
            self.older_salts = told.salts[1:]
            self.salt = (told.salts or (b"",))[0]
            self._sequence = sequence
