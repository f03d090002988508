"""Where the tables of a copy live: in memory of one process, or in a file that a host shares."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import secrets
import stat
import struct
from pathlib import Path
from typing import Protocol

from .packed_table import PackedTable, size_of

_BOOT_CLOCK = re.compile(r"^boottime\s+(-?\d+)\s+(\d+)$", re.MULTILINE)

Inode = tuple[int, int]
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
    """Which boot of the machine this is, 16 bytes: by whose clock a moment that is written counts.

    In a time namespace that clock has an offset (time_namespaces(7)), with which it is another one.
    """
    text = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    boot = int.from_bytes(bytes.fromhex(text.replace("-", "")), "big")
    try:
        offsets = Path("/proc/self/timens_offsets").read_text("ascii")
    except OSError:
        offsets = ""  # a kernel without them
    found = _BOOT_CLOCK.search(offsets)
    seconds, nanoseconds = map(int, found.groups()) if found else (0, 0)
    return (boot ^ int.from_bytes(struct.pack(">qq", seconds, nanoseconds), "big")).to_bytes(16)


class SharedFile:
    """Implements `Storage` in a file of this user's alone.

    Raises `PermissionError` for a directory that others may write to.
    """

    def __init__(self, path: Path, owner: bytes) -> None:
        """`owner`, 16 bytes, tells of which denylist it is."""
        self.path = path
        self._identity = (boot_id(), owner)
        self._ours: tuple[Inode | None, ...] = ()
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
        self._ours = (*self._ours[-1:], inode_of(self._fresh))
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

    def open_with_inode(self, *, write: bool = False) -> tuple[PackedTable | None, Inode | None]:
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
            table.told()  # damaged, it is no table either
        except (OSError, ValueError):
            return None, None
        finally:
            os.close(descriptor)
        if table.identity != self._identity:
            return None, None
        return table, (found.st_dev, found.st_ino)


def inode_of(path: Path) -> Inode | None:
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
