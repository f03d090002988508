"""What an issuer does by itself: heartbeats, completing what is undone, pruning.

Two threads in each worker process, so that no beat waits for the database to write; the stores see
to it that several do no harm.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from revocation import (
    CLOCK_TOLERANCE,
    ClocksApart,
    Denylist,
    DenylistLost,
    DenylistNotReady,
    DenylistUnavailable,
    Position,
    suspension_aware_clock,
)

from .database import DatabaseUnavailable
from .families import FamilyUnavailable
from .journal import PRUNE_BATCH, Journal
from .positions import Positions
from .revoker import Revoker

log = structlog.get_logger("gatepass.issuer")

HOUSEKEEPING_INTERVAL = 30.0
COMPLETION_INTERVAL = 5.0
"""Seconds between two looks for what somebody began and did not finish."""
_UNSURE = 1.0
"""Seconds; half of the longest answer by which the denylist's time can be known."""
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
        wall_clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = suspension_aware_clock,
        tolerance: float = CLOCK_TOLERANCE,
    ) -> None:
        """`heartbeat_interval` in seconds; `access_lifetimes` are those now issued.

        `wall_clock` is the one that tokens are dated by, and may differ from the denylist's by
        `tolerance` seconds; nobody sets the clock that is `steady`.
        """
        self._denylist = denylist
        self._journal = journal
        self._revoker = revoker
        self._positions = positions
        self._interval = heartbeat_interval
        self._access_lifetimes = access_lifetimes
        self._clock = clock
        self._wall_clock = wall_clock
        self._steady = steady
        self._tolerance = tolerance
        self._store_began: float | None = None
        """The denylist's time when the steady clock stood at 0; None until it has been asked."""
        self._known: Position | None = None
        self._filled = False
        self._noted = False
        self._without_database = False
        self._housekeeping = _Every(HOUSEKEEPING_INTERVAL)
        self._noting = _Every(HOUSEKEEPING_INTERVAL)
        self._completion = _Every(COMPLETION_INTERVAL)
        self._following = _Every(POSITION_INTERVAL)
        self._prunable = False
        self._moved: tuple[Position | None, Position] | None = None
        """From where to where the last beat came; None while none succeeds."""
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Beat from background threads. Threads do not survive a fork: start in the worker."""
        self._stopping.clear()
        self._threads = [
            threading.Thread(target=self._repeat, args=(work, name), name=thread, daemon=True)
            for work, name, thread in (
                (self._beat_alone, "heartbeat", "gatepass-pulse"),
                (self._keep_house, "housekeeping", "gatepass-housekeeping"),
            )
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=10)
        self._threads = []

    def _repeat(self, work: Callable[[], bool], name: str) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                if work() and failing:
                    log.info("pulse_recovered", work=name)
                    failing = False
            except (DatabaseUnavailable, DenylistUnavailable, FamilyUnavailable) as error:
                if not failing:
                    log.warning("pulse_failing", work=name, error=str(error))
                failing = True
            except Exception:
                log.exception("pulse_failed", work=name)
                failing = True
            # Twice an interval, so that with several issuers no beat comes late.
            self._stopping.wait(self._interval / 2)

    def beat(self) -> None:
        """Do what is due, one after the other. Raises what the stores raise."""
        try:
            self._beat_alone()
        finally:
            self._keep_house()

    def _beat_alone(self) -> bool:
        """False where it went without the database: that is no recovery from its loss."""
        try:
            reached = self._vouch()
        except BaseException:
            self._moved = None
            raise
        self._moved = self._known, reached
        return not self._without_database

    def _vouch(self) -> Position:
        if not self._filled:
            self._compare_clocks()
            if not self._noted:
                # Before the first token of a new lifetime that somebody may have to revoke.
                self._note_lifetimes()
                self._noted = True
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
        # Before the position is read: who stands still in between may not vouch for what an older
        # copy lacks that took the store's place meanwhile.
        asked = self._compare_clocks()
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
            # However long it was waited for.
            asked = self._denylist.time()
        return self._denylist.heartbeat(self._interval, self._known, asked)

    def _compare_clocks(self) -> float:
        """The denylist's time.

        Raises `ClocksApart` where this host's is ahead: by it, entries in force are over. The
        denylist itself refuses who is behind it, and notes that.
        """
        begun = self._steady()
        told = self._denylist.time()
        # It said so between the two moments; the latter makes this host's clock least ahead.
        answered = self._steady()
        if answered - begun <= 2 * _UNSURE or self._store_began is None:
            self._store_began = told - (begun + answered) / 2
        if self._wall_clock() - told - (self._steady() - begun) > self._tolerance:
            raise ClocksApart
        return told

    def require_clock(self) -> None:
        """Raises `ClocksApart` where this host's clock differs from the denylist's by too much.

        A token that is dated ahead would outlive the entry that is to refuse it. Nothing is asked:
        the denylist's time goes on from the last beat by a clock that nobody sets.
        """
        if self._store_began is None:
            return
        store = self._store_began + self._steady()
        if abs(self._wall_clock() - store) > self._tolerance + _UNSURE:
            raise ClocksApart

    def _fill(self) -> None:
        self._filled = False
        self._revoker.fill()
        self._filled = True

    def _note_lifetimes(self) -> None:
        for seconds in sorted(self._access_lifetimes):
            self._journal.note_lifetime(seconds, ahead=2 * int(HOUSEKEEPING_INTERVAL))

    def _keep_house(self) -> bool:
        """False where nothing was due that would show a recovery."""
        moved, now = self._moved, self._clock()
        if self._noting.due(now):
            # Tokens are issued while the denylist is away, too.
            self._note_lifetimes()
        if moved is None:
            return False
        if self._following.due(now):
            self._positions.move(*moved)
        completing = self._completion.due(now)
        if completing:
            completed = self._revoker.complete_undone()
            if completed:
                log.info("journal_completed", rows=completed)
        if self._housekeeping.due(now):
            self._prunable = True
        if self._prunable:
            # One batch at a time: however much has expired, nobody waits for it.
            self._prunable = self._journal.prune() == PRUNE_BATCH
        return completing
