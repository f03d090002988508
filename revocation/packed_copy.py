"""A copy of the denylist in flat memory: of this process, or of all processes of a host.

`PackedCopy` writes and reads; `SharedReader` reads what another process' `PackedCopy` keeps in a
file. A table that is full is made anew beside the old one, a little with each record that comes
in, so that nobody waits for it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from .copy import OLDER_SALTS
from .entry import Record
from .errors import ReplicaFull
from .packed_table import PackedTable, Word, capacity_for, size_of

MOST_ENTRIES = 4_000_000
"""About 180 MB."""
_MOVES = 64
"""Places of a table that is being made anew, for each record that comes in meanwhile."""
_SLICE = 8_192
"""Places swept at a time; others may run in between."""
_SLICE_PAUSE = 0.0005
_MICRO = 1_000_000
_SPINS = 1_000


class Storage(Protocol):
    """Where tables live."""

    def make(self, capacity: int) -> PackedTable:
        """A new table that nobody sees yet."""

    def publish(self, table: PackedTable) -> None:
        """Let readers find this table from now on."""


class OwnMemory:
    """Implements `Storage` for one process."""

    def make(self, capacity: int) -> PackedTable:
        return PackedTable(mmap.mmap(-1, size_of(capacity)), capacity=capacity)

    def publish(self, table: PackedTable) -> None:
        """Nobody else reads it."""


def boot_id() -> bytes:
    """Which boot of the machine this is: 16 bytes."""
    text = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return bytes.fromhex(text.replace("-", ""))


class SharedFile:
    """Implements `Storage` in a file of this user's alone.

    Raises `PermissionError` for a directory that others may write to.
    """

    def __init__(self, path: Path, owner: bytes) -> None:
        """`owner`, 16 bytes, tells of which denylist it is."""
        self.path = path
        self._identity = (boot_id(), owner)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _require_private(path.parent)

    def make(self, capacity: int) -> PackedTable:
        fresh = self.path.with_name(f"{self.path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(descriptor, size_of(capacity))
            table = PackedTable(mmap.mmap(descriptor, 0), capacity=capacity)
        except BaseException:
            fresh.unlink()
            raise
        finally:
            os.close(descriptor)
        table.identify(*self._identity)
        self._fresh = fresh
        return table

    def publish(self, table: PackedTable) -> None:  # noqa: ARG002
        self._fresh.replace(self.path)

    def remove_leftovers(self) -> None:
        """Remove what writers before us began and did not publish."""
        for path in self.path.parent.glob(f"{self.path.name}.*"):
            if len(path.name) == len(self.path.name) + 17:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()

    def open(self) -> PackedTable | None:
        """The table that is there, if it is ours, of this boot and of the same denylist."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            found = os.fstat(descriptor)
            if (
                not stat.S_ISREG(found.st_mode)
                or found.st_uid != os.geteuid()
                or found.st_mode & 0o077
                or found.st_size < size_of(1)
            ):
                return None
            table = PackedTable(mmap.mmap(descriptor, 0))
        except (OSError, ValueError):
            return None
        finally:
            os.close(descriptor)
        return table if table.identity == self._identity else None


def _require_private(directory: Path) -> None:
    found = directory.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(
            f"{directory}: a shared replica needs a directory that is ours and that nobody else"
            " may write to"
        )


class PackedCopy:
    """Implements `Copy`; one thread writes, any thread reads."""

    def __init__(
        self,
        storage: Storage | None = None,
        *,
        table: PackedTable | None = None,
        most: int = MOST_ENTRIES,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        """`table` is one of the storage's to go on with; `most` records at most are taken in."""
        self._storage = storage or OwnMemory()
        self._most = most
        self._pause = pause
        self.salt = b""
        self.older_salts: tuple[bytes, ...] = ()
        self.watermark = -1
        self._next: PackedTable | None = None
        self._moved = 0
        if table is not None and (header := table.read_header()) is not None:
            self._table = table
            table.count_again()
            # A writer that died halfway may have changed a record and not told anybody.
            table.words[Word.CHANGES] += 1
            self.watermark, salts = header
            self.salt, self.older_salts = (salts or [b""])[0], tuple(salts[1:])
        else:
            self._table = self._storage.make(capacity_for(0))
            self._table.write_header(-1, [])
            self._storage.publish(self._table)
            if table is not None:
                table.words[Word.SUPERSEDED] = 1
        self.level_of = self._table.level_of
        self.may_hold = self._table.may_hold

    # --- reading -----------------------------------------------------------------------------

    @property
    def fresh_at(self) -> float | None:
        at = self._table.words[Word.FRESH_AT]
        return (at - 1) / _MICRO if at else None

    @property
    def changes(self) -> int:
        """Rises with every change; what was looked up under this number need not be again."""
        return self._table.words[Word.CHANGES]

    def __len__(self) -> int:
        return len(self._table)

    # --- writing -----------------------------------------------------------------------------

    def begin(self, salt: bytes) -> None:
        if self.salt and salt != self.salt:
            older = (self.salt, *self.older_salts)
            self.older_salts = tuple(old for old in older if old != salt)[:OLDER_SALTS]
        self.salt = salt
        self._write_header()

    def merge(self, records: Iterable[Record]) -> None:
        """As `Sink.merge`. Raises `ReplicaFull` where more come than it was made for."""
        taken = 0
        changed = False
        try:
            for record in records:
                if self._table.is_full:
                    self._make_room(taken)
                changed |= self._table.merge(record.key, record.level, record.expires)
                taken += 1
                if self._next is not None:
                    self._next.merge(record.key, record.level, record.expires)
                    self._move(_MOVES)
        finally:
            if changed:
                self._table.words[Word.CHANGES] += 1

    def raise_watermark(self, watermark: int) -> None:
        if watermark > self.watermark:
            self.watermark = watermark
            self._write_header()

    def vouch(self, fresh_at: float | None) -> None:
        at = 0 if fresh_at is None else int(fresh_at * _MICRO) + 1
        self._table.words[Word.FRESH_AT] = at

    def sweep(self, now: float) -> None:
        table = self._table
        for first in range(0, table.capacity, _SLICE):
            table.drop_expired(now, first, first + _SLICE)
            self._pause(_SLICE_PAUSE)
        # Loading leaves it too large, and the end of many entries, too.
        if table.capacity > 1.2 * capacity_for(len(table)) and self._next is None:
            self._start_anew(capacity_for(len(table)))
        while self._next is not None:
            self._move(_SLICE)
            self._pause(_SLICE_PAUSE)

    def _write_header(self) -> None:
        for table in (self._next, self._table):
            if table is not None:
                table.write_header(self.watermark, [self.salt, *self.older_salts])
        self._table.words[Word.CHANGES] += 1

    # --- making it anew ----------------------------------------------------------------------

    def _make_room(self, taken: int) -> None:
        count = len(self._table)
        if count >= self._most:
            raise ReplicaFull(count)
        if self._next is None:
            # While a snapshot is read, by doubling: it would be copied again and again.
            loading = 4 * taken > count
            self._start_anew(capacity_for(2 * count if loading else count + count // 8))
        else:
            self._move(self._table.capacity)

    def _start_anew(self, capacity: int) -> None:
        self._next = self._storage.make(capacity)
        self._next.write_header(self.watermark, [self.salt, *self.older_salts])
        self._moved = 0

    def _move(self, places: int) -> None:
        old, fresh = self._table, self._next
        if fresh is None:
            return
        last = min(self._moved + places, old.capacity)
        for record in old.records(self._moved, last):
            fresh.merge(record.key, record.level, record.expires)
        self._moved = last
        if last == old.capacity:
            fresh.words[Word.CHANGES] = old.words[Word.CHANGES] + 1
            fresh.words[Word.FRESH_AT] = old.words[Word.FRESH_AT]
            self._storage.publish(fresh)
            self._table, self._next = fresh, None
            self.level_of = fresh.level_of
            self.may_hold = fresh.may_hold
            old.words[Word.SUPERSEDED] = 1


class SharedReader:
    """Implements the reading half of `Copy` on a file that another process writes."""

    def __init__(self, file: SharedFile) -> None:
        self._file = file
        self._table: PackedTable | None = None
        self._opened = 0
        self._sequence = -1
        self.salt = b""
        self.older_salts: tuple[bytes, ...] = ()
        self.watermark = -1

    @property
    def fresh_at(self) -> float | None:
        """Also takes up what changed in the header; so it is asked first."""
        table = self._table
        if table is None or table.words[Word.SUPERSEDED]:
            table = self._open()
            if table is None:
                return None
        # Before the header: it is at least as new as this.
        at = table.words[Word.FRESH_AT]
        if not at or not self._read_header(table):
            return None
        return (at - 1) / _MICRO

    @property
    def changes(self) -> int:
        """As that of the copy; -1 where there is none."""
        table = self._table
        return -1 if table is None else self._opened << 64 | table.words[Word.CHANGES]

    def level_of(self, key: bytes) -> int:
        """As that of the copy."""
        return 0 if self._table is None else self._table.level_of(key)

    def may_hold(self, keys: tuple[bytes, ...]) -> bool:
        """As that of the copy."""
        return self._table is not None and self._table.may_hold(keys)

    def __len__(self) -> int:
        return 0 if self._table is None else len(self._table)

    def _open(self) -> PackedTable | None:
        table = self._file.open()
        self._sequence = -1
        if table is not None:
            self._table = table
            self._opened += 1  # another file may have come by the same number of changes
        return table

    def _read_header(self, table: PackedTable) -> bool:
        if table.words[Word.SEQUENCE] == self._sequence:
            return True
        for _ in range(_SPINS):
            sequence = table.words[Word.SEQUENCE]
            header = table.read_header()
            if header is not None:
                self.watermark, salts = header
                self.salt, self.older_salts = (salts or [b""])[0], tuple(salts[1:])
                self._sequence = sequence
                return True
        # Its writer died in between: whoever is next writes it anew.
        return False
