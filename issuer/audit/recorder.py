"""Brings events into the log, from a thread of each process.

What an answer waits for is small: a row in the caller's own transaction, a field beside the
session's record, or, where nothing else is written, a row of its own. The log, with its lock and
its chain, is written a moment later, many events at a time. Whoever dies before that leaves them in
the outbox or among the drafts, where the next process finds them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import sqlalchemy as sa
import structlog

from ..crash_points import CrashPoint, reach
from ..database import DatabaseUnavailable
from ..database.engine import writing
from ..families import FamilyStore, FamilyUnavailable
from .ahead import events_of, read_draft
from .chain import UnknownSecret
from .event import Event
from .export import plain
from .log import BATCH, Appended, AuditLog
from .outbox import pend
from .refusals import Refusals

log = structlog.get_logger("gatepass.issuer")
trail = structlog.get_logger("gatepass.audit")

GATHER = 0.03
"""Seconds from an event to the log: as many as come meanwhile are written together."""
POLL = 1.0
"""Seconds between two looks for what another process left in the outbox."""
_MOST_WAITING = 20_000
"""Events in memory; the rest is taken from the drafts, where all of them are."""
_BACKOFF = 2.0
YOUNG = 10.0
"""Seconds: the process that a draft is of has surely not died yet."""


class Recorder:
    """Takes events, and brings them into the log."""

    def __init__(
        self,
        engine: sa.Engine,
        audit_log: AuditLog,
        families: FamilyStore,
        clock: Callable[[], float],
        appended: Callable[[], object],
    ) -> None:
        """`appended` is called after events have come into the log."""
        self._engine = engine
        self._log = audit_log
        self._families = families
        self._clock = clock
        self._appended = appended
        self._waiting: deque[tuple[Event, str | None]] = deque()
        self._refusals = Refusals(clock)
        self._writing = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def record(self, event: Event) -> None:
        """Write an event down; it lasts when this returns. Raises `DatabaseUnavailable`."""
        with writing(self._engine) as connection:
            pend(connection, event)
        reach(CrashPoint.AUDIT_PENDED)
        self._wake.set()

    def admits(self, event: Event, network: str) -> bool:
        """Whether a refusal is to be recorded; of many, the number follows a minute later."""
        return self._refusals.admit(event, network)

    def drafted(self, events: Sequence[Event], draft_id: str) -> None:
        """Take events that were noted with a session's change; costs no round trip."""
        if len(self._waiting) < _MOST_WAITING:
            for event in events:
                self._waiting.append((event, draft_id))
            self._wake.set()

    def wake(self) -> None:
        """Say that something lies in the outbox."""
        self._wake.set()

    # The thread

    def start(self) -> None:
        """Threads do not survive a fork: start in the worker."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._work, name="gatepass-audit", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write down what waits, then stop; a command leaves it to the issuers."""
        if self._thread is None:
            return
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout=10)
        self._thread = None
        try:
            for event in self._refusals.sums(all_of_them=True):
                self.record(event)
            self.flush()
        except (DatabaseUnavailable, sa.exc.SQLAlchemyError) as error:
            # They are in the outbox or among the drafts, for the next process.
            log.warning("audit_not_written", error=type(error).__name__)

    def _work(self) -> None:
        failing = False
        while not self._stopping.is_set():
            if self._wake.wait(POLL):
                self._stopping.wait(GATHER)
            self._wake.clear()
            try:
                for event in self._refusals.sums():
                    self.record(event)
                # One round: what comes meanwhile is gathered again, or each event of a busy issuer
                # would have a transaction of its own.
                with self._writing:
                    if self._is_waiting() and self._round():
                        self._wake.set()
                failing = False
            except Exception as error:
                # The thread outlives every surprise: nothing is lost meanwhile, only late.
                if not failing:
                    log.warning("audit_not_written", error=type(error).__name__)
                failing = True
                self._stopping.wait(_BACKOFF)

    def flush(self) -> None:
        """Bring all that is known into the log now. Raises `DatabaseUnavailable`."""
        with self._writing:
            while self._is_waiting() and self._round():
                pass

    def _is_waiting(self) -> bool:
        return bool(self._waiting) or self._log.is_waiting()

    def _round(self) -> bool:
        """Append a batch. False where nothing came of it: the outbox holds what a newer issuer
        has written, for one that knows it."""
        batch = list(islice(self._waiting, BATCH))
        done = self._log.append([event for event, _ in batch])
        reach(CrashPoint.AUDIT_APPENDED)
        for _ in batch:
            self._waiting.popleft()
        self._tell(done)
        self._drop([(e.sub, draft) for e, draft in batch if e.sub and draft])
        return bool(done or batch)

    def _tell(self, done: Sequence[Appended]) -> None:
        for one in done:
            # With its place and hash, so that the logs witness what the database says later.
            fields = {name: value for name, value in plain(one.recorded).items() if value}
            fields["at"] = fields.pop("time")
            trail.info(fields.pop("event"), hash=one.hash, **fields)
        if done:
            self._appended()

    def _drop(self, drafts: list[tuple[str, str]]) -> None:
        if not drafts:
            return
        try:
            self._families.drop_drafts(set(drafts))
        except FamilyUnavailable:
            # Found again among those that were left, and in the log already.
            log.info("audit_drafts_kept", drafts=len(drafts))

    def collect(self) -> bool:
        """Take what processes that died have left among the drafts; True if there may be more soon.

        Raises `FamilyUnavailable`, `DatabaseUnavailable`.
        """
        soon = False
        left = self._left()
        while batch := list(islice(left, BATCH)):
            old = []
            for event, draft_id in batch:
                if 0 <= self._clock() - event.time < YOUNG:
                    soon = True
                else:
                    old.append((event, draft_id))
            if old:
                with self._writing:
                    self._tell(self._log.append([event for event, _ in old]))
                self._drop([(event.sub, draft_id) for event, draft_id in old if event.sub])
        return soon

    def _left(self) -> Iterator[tuple[Event, str]]:
        for left in self._families.left_drafts():
            try:
                draft = read_draft(left.text, self._log.keys)
            except UnknownSecret:
                continue  # for an issuer that knows it
            except ValueError:
                # A newer version's, or none of ours: whoever writes to Redis writes no log.
                log.warning("audit_draft_refused", draft=left.id[:64])
                continue
            for event in events_of(left.outcome, draft):
                yield event, left.id
