"""One follower for all processes of a host: whoever holds a lock follows, the others stand by."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
from collections.abc import Callable

from .copy import Sink
from .follower import Follower
from .packed_copy import PackedCopy, SharedFile

log = logging.getLogger("gatepass.revocation")

_LOOK = 0.25
"""Seconds between two looks at whether the one who follows is gone."""


class SharedFollower:
    """Follows into a shared file while no other process does."""

    def __init__(self, file: SharedFile, follow: Callable[[Sink], Follower], *, most: int) -> None:
        """`follow` makes the follower that fills a sink with `most` records at most."""
        self._file = file
        self._follow = follow
        self._most = most
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = -1
        self._follower: Follower | None = None

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
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        self._thread = self._follower = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._take_lock():
                    self._lead()
                    return
            except Exception:
                # The thread must outlive every surprise; staleness shows that nobody follows.
                log.exception("the shared replica cannot be kept")
                self._release_lock()
            # Jitter, so that not all of them come at once.
            self._stopping.wait(_LOOK * (0.5 + secrets.randbelow(1000) / 1000))

    def _lead(self) -> None:
        self._file.remove_leftovers()
        copy = PackedCopy(self._file, table=self._file.open(), most=self._most)
        log.info("this process keeps the shared replica %s", self._file.path)
        self._follower = self._follow(copy)
        self._follower.start()
        self._stopping.wait()
        self._follower.stop()
        self._follower = None
        self._release_lock()

    def _take_lock(self) -> bool:
        path = self._file.path.with_name(f"{self._file.path.name}.lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            # Gone with the process, however it ends.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def _release_lock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
