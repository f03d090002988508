"""Carries a revocation from the journal to the denylist; every step may be repeated.

Order, always: journal row, family `ending`, denylist, family `ended`, row done. A process may die
between any two; whoever finds the row, or the family, goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

import structlog

from revocation import Denylist, DenylistUnavailable, Entry, Kind, Position

from .crash_points import CrashPoint, reach
from .database import DatabaseUnavailable
from .families import FamilyStore, FamilyUnavailable, Status
from .journal import OPEN_ENDED, Journal, JournalRow, Reason
from .parties import LONGEST_SESSION
from .positions import Positions

log = structlog.get_logger("gatepass.issuer")

_REPLAY_BATCH = 500
_STANDS = "what is revoked stands in the database, and an issuer brings it to the gateways"
_ONCE = frozenset({Kind.TOKEN, Kind.SESSION, Kind.KEY})


class Revoker:
    """Revokes, completes what was begun, and fills a denylist that was lost."""

    def __init__(
        self,
        journal: Journal,
        denylist: Denylist,
        families: FamilyStore,
        positions: Positions,
        *,
        longest_access: int,
        margin: int,
        clock: Callable[[], float],
        withdraw_key: Callable[[str], object],
        acknowledged: Callable[[str, float], object] = lambda _reason, _seconds: None,
    ) -> None:
        """`longest_access` and `margin` (leeway and skew) in seconds.

        `withdraw_key` takes a key out of the ring if it is there, so that nobody signs with it.
        `acknowledged` is told why each revocation was made, and the seconds that its push took.
        """
        self._journal = journal
        self._denylist = denylist
        self._families = families
        self._positions = positions
        self._longest_access = longest_access
        self._margin = margin
        self._clock = clock
        self._withdraw_key = withdraw_key
        self._acknowledged = acknowledged

    def entry_expiry(self) -> int:
        """When the last token that is out now, of whatever lifetime, has surely expired.

        Derived from the lifetimes that have been in force, never a setting of its own.
        """
        lifetime = max(self._longest_access, self._journal.longest_lifetime())
        return int(self._clock()) + lifetime + self._margin + 1

    def end_session(
        self, sub: str | None, sid: str, *, reason: Reason, absolute_end: int | None = None
    ) -> None:
        """End one session for good. Acknowledged when this returns.

        Without `sub` its family is not touched; refreshes are refused by the journal.
        Raises `DatabaseUnavailable`, `DenylistUnavailable`, `FamilyUnavailable`.
        """
        # Without its end, the longest that any setting has ever allowed: the session may be older
        # than the settings.
        kept_until = absolute_end or int(self._clock()) + LONGEST_SESSION
        entry = Entry.session(sid, self.entry_expiry())
        if self.revoke(entry, reason=reason, kept_until=kept_until, sub=sub):
            log.info("session_ended", sub=sub, sid=sid, reason=str(reason))

    def revoke(
        self,
        entry: Entry,
        *,
        reason: Reason,
        kept_until: int | None = None,
        sub: str | None = None,
    ) -> bool:
        """Journal an entry and push it; False if that had been done already.

        What is refused already is completed if need be, and not journalled again: no request
        repeated a million times makes the journal grow. (A session that has ended mints nothing
        more, so its first entry outlives every token of it.)
        """
        if entry.kind in _ONCE and (rows := self._journal.find(entry.kind, entry.value)):
            self.complete([row for row in rows if not row.done])
            if sub is not None and entry.kind is Kind.SESSION:
                self._families.mark(sub, entry.value, Status.ENDED)
            return False
        row_id = self._journal.append(entry, reason=reason, kept_until=kept_until, sub=sub)
        self.complete([JournalRow(row_id, entry, sub, str(reason))])
        return True

    def complete_id(self, row_id: int) -> None:
        """Push a row that somebody else's transaction wrote."""
        self.complete(self._journal.get([row_id]))

    def complete(self, rows: Sequence[JournalRow]) -> None:
        """Push rows to the denylist and mark them done."""
        if not rows:
            return
        begun = perf_counter()
        try:
            self._push(rows)
        except (DatabaseUnavailable, DenylistUnavailable, FamilyUnavailable) as error:
            error.add_note(_STANDS)
            raise
        for row in rows:
            self._acknowledged(row.reason, perf_counter() - begun)

    def _push(self, rows: Sequence[JournalRow]) -> None:
        reach(CrashPoint.REVOCATION_JOURNALLED)
        sessions = [
            (row.sub, row.entry.value) for row in rows if row.entry.kind is Kind.SESSION and row.sub
        ]
        for sub, sid in sessions:
            self._families.mark(sub, sid, Status.ENDING)
            reach(CrashPoint.REVOCATION_ENDING)
        # Reckoned again, now that the rows are committed: until that moment tokens were issued
        # that these entries must outlive, however long the commit took.
        least_expires = self.entry_expiry()
        known = self._positions.read()
        added = self._denylist.add([_lasting(row.entry, least_expires) for row in rows], known)
        reach(CrashPoint.REVOCATION_DENIED)
        for sub, sid in sessions:
            self._families.mark(sub, sid, Status.ENDED)
            reach(CrashPoint.REVOCATION_ENDED)
        for row in rows:
            if row.entry.kind is Kind.KEY:
                # Denylist first: gateways refuse the key before its successor signs.
                self._withdraw_key(row.entry.value)
        self._acknowledge(rows, least_expires, known, added)
        reach(CrashPoint.REVOCATION_DONE)

    def _acknowledge(
        self,
        rows: Sequence[JournalRow],
        least_expires: int,
        known: Position | None,
        added: Position,
    ) -> None:
        """Mark rows done together with a position whose history holds their entries.

        Whoever comes upon a store without that history knows that it lacks them.
        """
        reached = added
        while True:
            moved = None if known == reached else (known, reached)
            if self._journal.mark_done(rows, least_expires=least_expires, moved=moved):
                return
            # Another issuer has moved it. It must have done so on the store that we wrote to: one
            # that holds its place without our entries is another, however far it has come.
            known = self._positions.read()
            reached = self._denylist.add([], known, added)
            if known is not None and known.seq >= added.seq:
                reached = known

    def complete_undone(self) -> int:
        """Push every undone row, oldest first; returns how many."""
        total = 0
        while rows := self._journal.undone():
            self.complete(rows)
            total += len(rows)
        return total

    def complete_subject(self, sub: str) -> None:
        """Push a subject's undone rows, so that a login after a half-done change is in order."""
        self.complete(self._journal.undone_of(sub))

    def fill(self) -> None:
        """Put everything in force back into the denylist, and say that it is ready."""
        known = self._positions.read()
        reached = self._denylist.initialise(watermark=0).position
        epoch = reached.epoch
        rows = self._journal.in_force()
        for start in range(0, len(rows), _REPLAY_BATCH):
            batch = rows[start : start + _REPLAY_BATCH]
            # Each on top of the one before: a server that fails, restarts or goes back between two
            # of them lacks the first, and must not be called ready for the rest.
            reached = self._denylist.add([row.entry for row in batch], reached=reached)
        # Where somebody else has moved the position meanwhile, the next heartbeat holds the store
        # against that one.
        self._positions.move(known, self._denylist.mark_ready(epoch, known, reached))
        if rows:
            log.info("denylist_filled", entries=len(rows))


def _lasting(entry: Entry, least_expires: int) -> Entry:
    if entry.kind not in OPEN_ENDED or entry.expires >= least_expires:
        return entry
    return replace(entry, expires=least_expires)
