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
        if self._completion.due(now):
            completed = self._revoker.complete_undone()
            if completed:
                log.info("journal_completed", rows=completed)
        if self._housekeeping.due(now):
            for seconds in sorted(self._access_lifetimes):
                self._journal.note_lifetime(seconds, ahead=2 * int(HOUSEKEEPING_INTERVAL))
            self._prunable = True
        if self._prunable:
            # One batch with each beat: however much has expired, no beat comes late for it.
            self._prunable = self._journal.prune() == PRUNE_BATCH
