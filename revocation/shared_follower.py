"""One follower for all processes of a host: whoever holds a lock follows, the others stand by.

The lock keeps them from all following at once; safety does not hang on it. Each who follows writes
a file of its own, which begins as a copy of what the one before left and takes its name; so two
who both believe they follow, after somebody removed the lock's file, do not write into one table.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable

from .follower import Follower
from .jitter import jittered
from .packed_copy import PackedCopy
from .packed_table import PackedTable
from .shared_reader import SharedReader
from .table_storage import SharedFile

log = logging.getLogger("gatepass.revocation")

_LOOK = 0.25
"""Seconds between two looks at whether the one who follows is gone."""


class SharedFollower:
    """Follows into a shared file while no other process does."""

    def __init__(
        self,
        file: SharedFile,
        reader: SharedReader,
        follow: Callable[[PackedCopy], Follower],
        *,
        most: int,
    ) -> None:
        """`follow` makes the follower that fills a copy with `most` records at most.

        `reader` is this process' own, which is to find the file whoever wrote it.
        """
        self._file = file
        self._reader = reader
        self._follow = follow
        self._most = most
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = -1
        self._follower: Follower | None = None
        self._held: PackedTable | None = None

    @property
    def follower(self) -> Follower | None:
        """What this process follows with; None while another one does."""
        return self._follower

    def start(self) -> None:
        """Stand by from a background thread of this process."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gatepass-standby", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Leave following to another process, if this one does it."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None

    def forget(self) -> None:
        """In a child after a fork: the lock and the threads are the parent's."""
        self._release_lock()
        self._thread = self._follower = self._held = None

    def _run(self) -> None:
        told = ""
        while not self._stopping.is_set():
            try:
                self._reader.look()
                if self._take_lock():
                    self._lead()
                told = ""
            except Exception as error:
                # The thread must outlive every surprise; staleness shows that nobody follows.
                if told != str(error):
                    log.exception("the shared replica cannot be kept")
                told = str(error)
            finally:
                self._release_lock()
            # Jitter, so that not all of them come at once.
            self._stopping.wait(jittered(_LOOK))

    def _lead(self) -> None:
        self._file.remove_leftovers()
        held = self._file.open(write=True)
        if held is None:
            held = self._held
        copy = PackedCopy(self._file, held=held, most=self._most)
        log.info("this process keeps the shared replica %s", self._file.path)
        self._follower = self._follow(copy)
        self._follower.start()
        try:
            while not self._stopping.wait(_LOOK):
                self._reader.look()
                if not self._is_still_ours():
                    log.warning("the shared replica or its lock was taken away; beginning anew")
                    return
        finally:
            self._follower.stop()
            self._follower = None
            self._held = copy.table

    def _is_still_ours(self) -> bool:
        return self._file.is_in_place() and self._holds_lock()

    @property
    def _lock_path(self) -> str:
        return f"{self._file.path}.lock"

    def _take_lock(self) -> bool:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._lock = os.open(self._lock_path, flags, 0o600)
        try:
            # Gone with the process, however it ends.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return self._holds_lock()

    def _holds_lock(self) -> bool:
        # A lock on a file that was removed keeps nobody else out.
        try:
            return os.path.samestat(os.fstat(self._lock), os.lstat(self._lock_path))
        except FileNotFoundError:
            return False

    def _release_lock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
