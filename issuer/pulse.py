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
from .revoker import Revoker

log = structlog.get_logger("gatepass.issuer")

HOUSEKEEPING_INTERVAL = 30.0


class Pulse:
    """Keeps the denylist alive and complete."""

    def __init__(
        self,
        denylist: Denylist,
        journal: Journal,
        revoker: Revoker,
        *,
        heartbeat_interval: float,
        access_lifetimes: frozenset[int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`heartbeat_interval` in seconds; `access_lifetimes` are those now issued."""
        self._denylist = denylist
        self._journal = journal
        self._revoker = revoker
        self._interval = heartbeat_interval
        self._access_lifetimes = access_lifetimes
        self._clock = clock
        self._highest: Position | None = None
        self._filled = False
        self._next_housekeeping = 0.0
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
                if failing:
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
        if not self._filled:
            self._fill()
        try:
            position = self._denylist.heartbeat(self._interval, self._known())
        except (DenylistLost, DenylistNotReady) as error:
            # New, lost, or come back from the past: the journal has what it lacks.
            log.warning(error.code)
            self._fill()
            position = self._denylist.heartbeat(self._interval)
        if self._highest is not None and position.epoch != self._highest.epoch:
            log.warning("denylist_replaced", epoch=position.epoch)
            self._fill()
        self._highest = position
        self._keep_house()

    def _fill(self) -> None:
        self._filled = False
        self._revoker.fill()
        self._filled = True
        self._highest = None

    def _known(self) -> Position | None:
        """The furthest place in the feed that this process has seen."""
        seen = [self._highest, self._revoker.acknowledged]
        return max((one for one in seen if one is not None), key=lambda one: one.seq, default=None)

    def _keep_house(self) -> None:
        now = self._clock()
        if now < self._next_housekeeping:
            self._prune()
            return
        self._next_housekeeping = now + HOUSEKEEPING_INTERVAL
        for seconds in sorted(self._access_lifetimes):
            self._journal.note_lifetime(seconds, ahead=2 * int(HOUSEKEEPING_INTERVAL))
        completed = self._revoker.complete_undone()
        if completed:
            log.info("journal_completed", rows=completed)
        self._prunable = True
        self._prune()

    def _prune(self) -> None:
        # One batch with each beat: however much has expired, no beat comes late for it.
        if self._prunable:
            self._prunable = self._journal.prune() == PRUNE_BATCH
