"""Runs those that follow the log: one process at a time for each, whichever holds its lease."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

import sqlalchemy as sa
import structlog

from ..crash_points import CrashPoint, reach
from ..database import DatabaseUnavailable
from .consumer import Consumer
from .log import AuditLog
from .place import Place

log = structlog.get_logger("gatepass.issuer")

POLL = 0.1
"""Seconds between two looks for events that another process has appended."""
_AWAY = 1.0
"""Seconds between two looks whether the process that follows is still there."""
_BACKOFF = 2.0
BATCH = 200


class NotFollowed(Exception):
    """The one of this name has not come far enough in time."""

    code: ClassVar[str] = "not_followed"


class Follower:
    """Gives a consumer every event, from a thread of this process."""

    def __init__(
        self, engine: sa.Engine, log: AuditLog, consumer: Consumer, clock: Callable[[], float]
    ) -> None:
        self._log = log
        self._consumer = consumer
        self._place = Place(engine, consumer.name, clock)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Say that events have been appended."""
        self._wake.set()

    def start(self) -> None:
        """Threads do not survive a fork: start in the worker."""
        self._stopping.clear()
        # Before a request can make an event: one from before its place nobody is told of. Where
        # the database does not answer now, the thread tries again, and nothing happens meanwhile.
        with suppress(DatabaseUnavailable, sa.exc.SQLAlchemyError):
            self._place.make()
        name = f"gatepass-{self._consumer.name}"
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None

    def _work(self) -> None:
        failing = made = False
        while not self._stopping.is_set():
            try:
                if not made:
                    self._place.make()
                    made = True
                pause = POLL if self._place.hold() else _AWAY
                if pause == POLL:
                    while self.step() and not self._stopping.is_set():
                        self._place.hold()
                failing = False
            except Exception as error:
                # Given again: nothing is lost, and another process may do better.
                if not failing:
                    log.warning(
                        "audit_follower_failing",
                        follower=self._consumer.name,
                        error=type(error).__name__,
                    )
                failing = True
                pause = _BACKOFF
                self._let_go()
            self._wake.wait(pause)
            self._wake.clear()
        self._let_go()

    def step(self) -> bool:
        """Give the consumer one batch; False where there was none."""
        known = self._place.read()
        batch = self._log.after(known, BATCH)
        if not batch:
            return False
        self._consumer.consume(batch)
        reach(CrashPoint.AUDIT_CONSUMED)
        return self._place.move(known, batch[-1].seq)

    def catch_up(self, until: int, patience: float) -> None:
        """Return once the consumer has been given all up to a place, here or by another process.

        Raises `NotFollowed` after `patience` seconds, and what the consumer and the database raise.
        """
        self._place.make()
        deadline = time.monotonic() + patience
        try:
            while self._lags(until):
                if self._place.hold():
                    self.step()
                elif time.monotonic() >= deadline:
                    raise NotFollowed(self._consumer.name)
                else:
                    self._stopping.wait(POLL)
        finally:
            self._let_go()

    def _lags(self, until: int) -> bool:
        try:
            left = self._log.after(self._place.read(), 1)
        except ValueError:  # an event that only a newer release knows
            raise NotFollowed(self._consumer.name) from None
        return bool(left) and left[0].seq <= until

    def _let_go(self) -> None:
        try:
            self._place.release()
        except Exception as error:
            log.info("audit_lease_kept", error=type(error).__name__)
