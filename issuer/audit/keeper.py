"""What one process at a time does for the log now and then.

Takes what dead processes left among the drafts, tells of sessions that passed their end and of
changes of the key ring, and takes out events whose time is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import sqlalchemy as sa
import structlog

from ..families import FamilyStore, Status
from . import live_sessions
from .key_changes import KeyChanges
from .log import AuditLog
from .place import Place
from .recorder import Recorder
from .redaction import Redaction

log = structlog.get_logger("gatepass.issuer")

INTERVAL = 5.0
"""Seconds between two looks at the keys and at sessions past their end."""
DRAFTS_INTERVAL = 300.0
"""Seconds between two searches for drafts, which go over all sessions."""
SOON = 15.0
"""Seconds until the next one where drafts were too young to be left ones."""
RETENTION_INTERVAL = 3600.0
GRACE = 90
"""Seconds for which a session stays in the table past its end: a refresh may be on its way."""
_BATCH = 500


class Keeper:
    """Keeps the log in order, from a thread of each process; one at a time works."""

    def __init__(
        self,
        engine: sa.Engine,
        audit_log: AuditLog,
        recorder: Recorder,
        families: FamilyStore,
        keys: KeyChanges,
        redaction: Redaction,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._log = audit_log
        self._recorder = recorder
        self._families = families
        self._keys = keys
        self._redaction = redaction
        self._clock = clock
        self._place = Place(engine, "keeper", clock)
        self._next_drafts = 0.0
        self._next_retention = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Threads do not survive a fork: start in the worker."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._work, name="gatepass-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
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
                if self._place.hold():
                    self.keep()
                failing = False
            except Exception as error:
                if not failing:
                    log.warning("audit_keeper_failing", error=type(error).__name__)
                failing = True
            self._stopping.wait(INTERVAL)
        try:
            self._place.release()
        except Exception as error:
            log.info("audit_lease_kept", error=type(error).__name__)

    def is_at_work(self) -> bool:
        """Whether some process keeps the log now. Raises `DatabaseUnavailable`."""
        return self._place.is_held()

    def keep(self) -> None:
        """Do what is due. Raises what the stores raise."""
        now = self._clock()
        if self._keys.note():
            self._recorder.wake()
        self.note_expiries()
        if not 0 < self._next_retention - now <= RETENTION_INTERVAL:
            if taken_out := self._redaction.by_age():
                log.info("audit_events_expired", events=taken_out)
                self._recorder.wake()
            self._next_retention = now + RETENTION_INTERVAL
        # Last: what somebody has put into Redis must not keep the rest from being done.
        if not 0 < self._next_drafts - now <= DRAFTS_INTERVAL:
            soon = self._recorder.collect()
            self._next_drafts = now + (SOON if soon else DRAFTS_INTERVAL)

    def note_expiries(self) -> None:
        """Tell of sessions that passed their idle or absolute end."""
        while past := live_sessions.past_their_end(self._engine, self._clock() - GRACE, _BATCH):
            told = self._log.append(list(live_sessions.expiries(past, self._end_of)))
            self._recorder.wake()
            if not told:
                return  # somebody has put events of these names into the log

    def _end_of(self, sub: str, sid: str) -> float | None:
        family = self._families.get(sub, sid)
        if family is None or family.status is not Status.LIVE or family.end <= self._clock():
            return None
        return family.end
