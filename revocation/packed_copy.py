"""A copy of the denylist in flat memory: of this process, or of all processes of a host.

`PackedCopy` writes and reads; `SharedReader` reads what another process' `PackedCopy` keeps in a
file. A table that is full is made anew beside the old one, a little with each record that comes
in, so that nobody waits for it.
"""

from __future__ import annotations

import contextlib
import mmap
import operator
import os
import secrets
import stat
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from .copy import OLDER_SALTS
from .entry import Record
from .errors import ReplicaFull
from .feed import Position
from .packed_table import PackedTable, Told, Word, capacity_for, size_of

MOST_ENTRIES = 4_000_000
"""About 180 MB."""
_MOVES = 64
"""Places of a table that is being made anew, for each record that comes in meanwhile."""
_SLICE = 32_768
"""Places swept at a time, which takes two milliseconds."""
_MOVING = 8
"""How much more it takes to move a place than to sweep it."""
_SPARE, _SPARE_AFTER_LOADING = 1.2, 1.05
"""By how much a table may be larger than it needs to be before it is made anew."""
_BATCH = 4_096
"""Records of a snapshot after which readers are told to look again."""
_MICRO = 1_000_000

_Inode = tuple[int, int]
"""Device and number: tells a file from the one that takes its name."""


class Storage(Protocol):
    """Where tables live."""

    def make(self, capacity: int) -> PackedTable:
        """A new table that nobody sees yet."""

    def publish(self, table: PackedTable) -> None:
        """Let readers find this table from now on."""

    def discard(self) -> None:
        """Remove what was made last, and not published."""


class OwnMemory:
    """Implements `Storage` for one process."""

    def make(self, capacity: int) -> PackedTable:
        # Private: a forked child goes on with a copy of its own, and disturbs nobody's.
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        return PackedTable(mmap.mmap(-1, size_of(capacity), flags=flags), capacity=capacity)

    def publish(self, table: PackedTable) -> None:
        """Nobody else reads it."""

    def discard(self) -> None:
        """It goes with its last reference."""


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
        self._ours: tuple[_Inode | None, ...] = ()
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _require_private(path.parent)

    def make(self, capacity: int) -> PackedTable:
        fresh = self.path.with_name(f"{self.path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            # Reserved: a page that a full file system cannot give would end the process.
            os.posix_fallocate(descriptor, 0, size_of(capacity))
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
        # Before and after, so that at no moment it looks as if another one had done it.
        self._ours = (*self._ours[-1:], _inode(self._fresh))
        self._fresh.replace(self.path)

    def discard(self) -> None:
        self._fresh.unlink(missing_ok=True)

    def is_in_place(self) -> bool:
        """Whether what this process published last is what others find, and take."""
        try:
            found = self.path.lstat()
        except OSError:
            return False
        return _is_private(found) and (found.st_dev, found.st_ino) in self._ours

    def remove_leftovers(self) -> None:
        """Remove what writers before us began and did not publish."""
        for path in self.path.parent.glob(f"{self.path.name}.*"):
            if len(path.name) == len(self.path.name) + 17:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()

    def open(self, *, write: bool = False) -> PackedTable | None:
        """The table that is there, if it is ours, of this boot and of the same denylist."""
        return self.open_with_inode(write=write)[0]

    def open_with_inode(self, *, write: bool = False) -> tuple[PackedTable | None, _Inode | None]:
        """As `open`; also what tells this file from the one that takes its place."""
        try:
            mode = os.O_RDWR if write else os.O_RDONLY
            descriptor = os.open(self.path, mode | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None, None
        try:
            found = os.fstat(descriptor)
            if (
                not stat.S_ISREG(found.st_mode)
                or not _is_private(found)
                or found.st_size < size_of(1)
            ):
                return None, None
            access = mmap.ACCESS_WRITE if write else mmap.ACCESS_READ
            table = PackedTable(mmap.mmap(descriptor, 0, access=access))
        except (OSError, ValueError):
            return None, None
        finally:
            os.close(descriptor)
        if table.identity != self._identity:
            return None, None
        return table, (found.st_dev, found.st_ino)


def _inode(path: Path) -> _Inode | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_private(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _require_private(directory: Path) -> None:
    found = directory.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(
            f"{directory}: a shared replica needs a directory that is ours and that nobody else"
            " may write to"
        )


class PackedCopy:
    """Implements `Copy` and `Sink`; one thread writes, any thread reads."""

    def __init__(
        self,
        storage: Storage | None = None,
        *,
        held: PackedTable | None = None,
        most: int = MOST_ENTRIES,
    ) -> None:
        """`held` is what somebody before us has left; `most` records at most are taken in.

        The writer before us may be stopped rather than dead, so what it left is copied: it cannot
        write into this one.
        """
        self._storage = storage or OwnMemory()
        self._most = most
        self._next: PackedTable | None = None
        self._moved = 0
        self._swept = 0
        self._is_roomy = False
        self._table = self._storage.make(capacity_for(0) if held is None else held.capacity)
        told = Told()
        if held is not None:
            self._table.become(held)
            told = self._table.told()
        self.position = told.position
        """What has been told of it: all up to here has been merged."""
        self.watermark = told.watermark
        self.salt, self.older_salts = (told.salts or (b"",))[0], told.salts[1:]
        at = self._table.words[_FRESH_AT]
        # Also kept by itself, which a check reads sooner.
        self.fresh_at: float | None = (at - 1) / _MICRO if at else None
        self._storage.publish(self._table)
        if held is not None:
            held.words[Word.SUPERSEDED] = 1
        self._bind()

    def _bind(self) -> None:
        # Without a step in between: every check asks these.
        self.level_of = self._table.level_of
        self.may_hold = self._table.may_hold
        self.may_hold_ids = self._table.may_hold_ids

    def go_on_after_fork(self) -> None:
        """In the child: the thread that wrote may have been anywhere."""
        self._next = None
        self._table.count_again()
        self._table.count_change()
        self._bind()

    # --- reading -----------------------------------------------------------------------------

    @property
    def table(self) -> PackedTable:
        """The present one."""
        return self._table

    @property
    def changes(self) -> int:
        """Rises with every change; what was looked up under this number need not be again."""
        return self._table.words[_CHANGES]

    def __len__(self) -> int:
        return len(self._table)

    # --- writing -----------------------------------------------------------------------------

    def begin(self, salt: bytes) -> None:
        if self.salt and salt != self.salt:
            older = (self.salt, *self.older_salts)
            # Before the present one: a check in between asks for one of them twice.
            self.older_salts = tuple(old for old in older if old != salt)[:OLDER_SALTS]
        self.salt = salt
        # What was reached belongs to the epoch before.
        self.position = None
        self._tell()
        self._table.count_change()

    def merge(self, records: Iterable[Record]) -> None:
        """As `Sink.merge`. Raises `ReplicaFull` where more come than it was made for."""
        self._expect(operator.length_hint(records))
        changed, taken = False, 0
        try:
            for record in records:
                if self._is_tight:
                    self._make_room(taken)
                self._require_room_for(record)
                if self._table.merge(record.key, record.level, record.expires):
                    changed = True
                if self._next is not None:
                    self._next.merge(record.key, record.level, record.expires)
                    self._move(_MOVES)
                taken += 1
                if taken % _BATCH == 0:
                    self._table.count_change()
        except ReplicaFull:
            self._abandon()
            raise
        finally:
            if changed:
                self._table.count_change()

    def raise_watermark(self, watermark: int) -> None:
        if watermark > self.watermark:
            self.watermark = watermark
            self._tell()
            self._table.count_change()

    def vouch(self, fresh_at: float | None) -> None:
        at = 0 if fresh_at is None else int(fresh_at * _MICRO) + 1
        self._table.words[_FRESH_AT] = at
        self.fresh_at = fresh_at

    def reach(self, position: Position) -> None:
        """Say that all up to here has been merged, for who takes over from us."""
        self.position = position
        self._tell()

    def sweep(self, now: float) -> bool:
        left = _SLICE
        while left > 0:
            if self._next is not None:
                try:
                    left -= _MOVING * self._move(max(1, left // _MOVING))
                except ReplicaFull:
                    self._abandon()
                    return False
                continue
            table = self._table
            last = min(self._swept + left, table.capacity)
            table.drop_expired(now, self._swept, last)
            left -= last - self._swept
            self._swept = last
            if last < table.capacity:
                continue
            self._swept = 0
            # Loading may leave it too large, and the end of many entries does.
            spare = _SPARE_AFTER_LOADING if self._is_roomy else _SPARE
            self._is_roomy = False
            if table.capacity <= spare * capacity_for(len(table)):
                return False
            self._start_anew(capacity_for(len(table)))
        return True

    def _tell(self) -> None:
        told = Told(self.watermark, (self.salt, *self.older_salts), self.position)
        for table in (self._next, self._table):
            if table is not None:
                table.tell(told)

    # --- making it anew ----------------------------------------------------------------------

    def _expect(self, count: int) -> None:
        """Make room at once for a snapshot, of which some may be here already."""
        capacity = capacity_for(min(count, self._most))
        if capacity > self._table.capacity and self._next is None:
            self._is_roomy = True
            self._start_anew(capacity)
            self._move(self._table.capacity)

    def _require_room_for(self, record: Record) -> None:
        table = self._table
        if len(table) >= self._most and not table.holds(record.key):
            raise ReplicaFull(len(table))

    @property
    def _is_tight(self) -> bool:
        """Whether there is room just for what comes in while the table is made anew."""
        table = self._table
        return table.used + table.capacity // _MOVES >= table.most_used

    def _make_room(self, taken: int) -> None:
        if self._next is None:
            count = len(self._table)
            # By doubling while much comes at once: it would be copied again and again.
            self._is_roomy |= 4 * taken > count
            more = count if 4 * taken > count else count // 32
            self._start_anew(capacity_for(count + more))
        elif self._table.is_full:
            self._move(self._table.capacity)

    def _start_anew(self, capacity: int) -> None:
        self._moved = self._swept = 0
        self._next = self._storage.make(capacity)
        self._tell()

    def _abandon(self) -> None:
        if self._next is not None:
            self._next = None
            self._storage.discard()

    def _move(self, places: int) -> int:
        """Move so many places on; how many there were."""
        old, fresh = self._table, self._next
        if fresh is None:
            return 0
        first, last = self._moved, min(self._moved + places, old.capacity)
        fresh.take_from(old, first, last)
        self._moved = last
        if last == old.capacity:
            fresh.words[_FRESH_AT] = old.words[_FRESH_AT]
            self._storage.publish(fresh)
            self._table, self._next = fresh, None
            self._bind()
            old.words[Word.SUPERSEDED] = 1
        return last - first


_CHANGES, _FRESH_AT = int(Word.CHANGES), int(Word.FRESH_AT)
_SEQUENCE, _SUPERSEDED = int(Word.SEQUENCE), int(Word.SUPERSEDED)


class SharedReader:
    """Implements `Copy` on a file that another process writes."""

    def __init__(self, file: SharedFile) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._table: PackedTable | None = None
        self._inode: _Inode | None = None
        self._sequence = -1
        self.salt = b""
        self.older_salts: tuple[bytes, ...] = ()
        self.watermark = -1

    @property
    def fresh_at(self) -> float | None:
        """Also takes up what changed in the header: asked before that, and after `changes`.

        Only then it may take a lock.
        """
        table = self._table
        if table is None or table.words[_SUPERSEDED]:
            table = self._open()
            if table is None:
                return None
        # Before the rest: that is at least as new as this.
        at = table.words[_FRESH_AT]
        if table.words[_SEQUENCE] != self._sequence:
            self._read(table)
        return (at - 1) / _MICRO if at else None

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

    def __len__(self) -> int:
        return 0 if self._table is None else len(self._table)

    def look(self) -> None:
        """Find the file that has come in the place of one whose writer died before it said so."""
        if self._table is not None and _inode(self._file.path) != self._inode:
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
