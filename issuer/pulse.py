"""What an issuer does by itself: heartbeats, completing what is undone, pruning.

One thread in each worker process; the stores see to it that several do no harm.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from revocation import Denylist, DenylistLost, DenylistNotReady, DenylistUnavailable, Position

from .database import DatabaseUnavailable
from .families import FamilyUnavailable
from .journal import PRUNE_BATCH, Journal
from .positions import Positions
from .revoker import Revoker

log = structlog.get_logger("gatepass.issuer")

HOUSEKEEPING_INTERVAL = 30.0
COMPLETION_INTERVAL = 5.0
"""Seconds between two looks for what somebody began and did not finish."""
POSITION_INTERVAL = 60.0
"""Seconds after which the position in SQL follows the heartbeats; the feed's window is longer."""


class _Every:
    """Says when it is time again."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = 0.0

    def due(self, now: float) -> bool:
        """Whether the interval is over; the next one begins then."""
        if now < self._next:
            return False
        self._next = now + self._interval
        return True


class Pulse:
    """Keeps the denylist alive and complete."""

    def __init__(
        self,
        denylist: Denylist,
        journal: Journal,
        revoker: Revoker,
        positions: Positions,
        *,
        heartbeat_interval: float,
        access_lifetimes: frozenset[int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`heartbeat_interval` in seconds; `access_lifetimes` are those now issued."""
        self._denylist = denylist
        self._journal = journal
        self._revoker = revoker
        self._positions = positions
        self._interval = heartbeat_interval
        self._access_lifetimes = access_lifetimes
        self._clock = clock
        self._known: Position | None = None
        self._filled = False
        self._without_database = False
        self._housekeeping = _Every(HOUSEKEEPING_INTERVAL)
        self._noting = _Every(HOUSEKEEPING_INTERVAL)
        self._completion = _Every(COMPLETION_INTERVAL)
        self._following = _Every(POSITION_INTERVAL)
        self._prunable = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Beat from a background thread. Threads do not survive a fork: start in the worker."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="gatepass-pulse", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None

    def _run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                self.beat()
                # A beat without the database is no recovery from its loss.
                if failing and not self._without_database:
                    log.info("pulse_recovered")
                    failing = False
            except (DatabaseUnavailable, DenylistUnavailable, FamilyUnavailable) as error:
                if not failing:
                    log.warning("pulse_failing", error=str(error))
                failing = True
            except Exception:
                log.exception("pulse_failed")
                failing = True
            # Twice an interval, so that with several issuers no beat comes late.
            self._stopping.wait(self._interval / 2)

    def beat(self) -> None:
        """Do what is due. Raises what the stores raise."""
        try:
            position = self._vouch()
        finally:
            # Tokens are issued while the denylist is away, too.
            self._note_lifetimes()
        if self._following.due(self._clock()):
            self._positions.move(self._known, position)
        self._keep_house()

    def _vouch(self) -> Position:
        if not self._filled:
            # Before the first token of a new lifetime that somebody may have to revoke.
            self._note_lifetimes()
            self._fill()
        try:
            return self._heartbeat()
        except (DenylistLost, DenylistNotReady) as error:
            # New, lost, under another primary, or come back from the past: the journal has what it
            # lacks.
            log.warning(error.code)
            self._fill()
            return self._heartbeat()

    def _heartbeat(self) -> Position:
        try:
            self._known = self._positions.read()
            self._without_database = False
        except DatabaseUnavailable:
            # Nobody can acknowledge anything now, so what was known last is all that there is; and
            # a Redis that restarts, fails over or is emptied meanwhile is not ready, whatever it
            # holds. Gateways need not stop because the database does.
            if not self._without_database:
                log.warning("heartbeat_without_database")
            self._without_database = True
        return self._denylist.heartbeat(self._interval, self._known)

    def _fill(self) -> None:
        self._filled = False
        self._revoker.fill()
        self._filled = True

    def _note_lifetimes(self) -> None:
        if self._noting.due(self._clock()):
            for seconds in sorted(self._access_lifetimes):
                self._journal.note_lifetime(seconds, ahead=2 * int(HOUSEKEEPING_INTERVAL))

    def _keep_house(self) -> None:
        now = self._clock()
        if self._completion.due(now):
            completed = self._revoker.complete_undone()
            if completed:
                log.info("journal_completed", rows=completed)
        if self._housekeeping.due(now):
            self._prunable = True
        if self._prunable:
            # One batch with each beat: however much has expired, no beat comes late for it.
            self._prunable = self._journal.prune() == PRUNE_BATCH
