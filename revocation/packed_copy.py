"""A copy of the denylist in flat memory, which its follower writes and every check reads.

A table that is full is made anew beside the old one, a little with each record that comes in, so
that nobody waits for it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable

from .copy import OLDER_SALTS
from .entry import Record
from .errors import ReplicaFull
from .feed import Position
from .packed_table import PackedTable, Told, Word, capacity_for
from .table_storage import OwnMemory, Storage

MOST_ENTRIES = 4_000_000
"""About 180 MB."""
_MOVES = 64
"""Places of a table that is being made anew, for each record that comes in meanwhile."""
_SLICE = 32_768
"""Places swept at a time, which takes two milliseconds."""
_MOVING = 8
"""How much more it takes to move a place than to sweep it."""
_SPARE = 1.05
"""By how much a table may be larger than it needs to be before a sweep makes it anew.

One that is as large as it needs to be has `SLOT / ROOM`, 45.3 bytes, for a record; so much larger,
47.6; made anew while full, for a thirty-second more records, 46.7. docs/replica.md promises 48: the
rest is for the header, and enough from some 10,000 records on.
"""
_BATCH = 4_096
"""Records of a snapshot after which readers are told to look again."""


class PackedCopy:
    """Implements `Copy` and `Sink`; one thread writes, any thread reads."""

    def __init__(
        self,
        storage: Storage | None = None,
        *,
        held: PackedTable | None = None,
        most: int = MOST_ENTRIES,
    ) -> None:
        """`held` is what somebody before us has left; `most` records at most are taken in.

        The writer before us may be stopped rather than dead, so what it left is copied: it cannot
        write into this one.
        """
        self._storage = storage or OwnMemory()
        self._most = most
        self._next: PackedTable | None = None
        self._moved = 0
        self._swept_places = 0
        self._table = self._storage.make(capacity_for(0) if held is None else held.capacity)
        told = Told()
        if held is not None:
            self._table.become(held)
            told = self._table.told()
        self.position = told.position
        """What has been told of it: all up to here has been merged."""
        self.watermark = told.watermark
        self.salt, self.older_salts = (told.salts or (b"",))[0], told.salts[1:]
        # Also kept by itself, which a check reads sooner.
        self.fresh_at = self._table.fresh_at
        self._storage.publish(self._table)
        if held is not None:
            held.words[Word.SUPERSEDED] = 1
        self._bind()

    def _bind(self) -> None:
        # Without a step in between: every check asks these.
        self.changes = self._table.words[_CHANGES]
        self.level_of = self._table.level_of
        self.may_hold = self._table.may_hold
        self.may_hold_ids = self._table.may_hold_ids

    def go_on_after_fork(self) -> None:
        """In the child: the thread that wrote may have been anywhere."""
        self._next = None
        self._table.count_again()
        self._table.count_change()
        self._bind()

    def count_change(self) -> None:
        """Let readers see that what they looked up may be out of date."""
        self._table.count_change()
        self.changes = self._table.words[_CHANGES]

    # --- reading -----------------------------------------------------------------------------

    @property
    def table(self) -> PackedTable:
        """The present one."""
        return self._table

    @property
    def swept(self) -> int:
        """The second up to which entries that were over may have been dropped; 0 for none."""
        return self._table.words[_SWEPT]

    def __len__(self) -> int:
        return len(self._table)

    # --- writing -----------------------------------------------------------------------------

    def begin(self, salt: bytes) -> None:
        if self.salt and salt != self.salt:
            older = (self.salt, *self.older_salts)
            # Before the present one: a check in between asks for one of them twice.
            self.older_salts = tuple(old for old in older if old != salt)[:OLDER_SALTS]
        self.salt = salt
        # What was reached belongs to the epoch before.
        self.position = None
        self._tell()
        self.count_change()

    def merge(self, records: Iterable[Record]) -> None:
        """As `Sink.merge`. Raises `ReplicaFull` where more come than it was made for."""
        self._expect(operator.length_hint(records))
        changed, taken = False, 0
        try:
            for record in records:
                if self._is_tight:
                    self._make_room(taken)
                self._require_room_for(record)
                if self._table.merge(record.key, record.level, record.expires):
                    changed = True
                if self._next is not None:
                    self._next.merge(record.key, record.level, record.expires)
                    self._move(_MOVES)
                taken += 1
                if taken % _BATCH == 0:
                    self.count_change()
        except ReplicaFull:
            self._abandon()
            raise
        finally:
            if changed:
                self.count_change()

    def raise_watermark(self, watermark: int) -> None:
        if watermark > self.watermark:
            self.watermark = watermark
            self._tell()
            self.count_change()

    def vouch(self, fresh_at: float | None) -> None:
        self._table.fresh_at = self.fresh_at = fresh_at

    def reach(self, position: Position) -> None:
        """Say that all up to here has been merged, for who takes over from us."""
        self.position = position
        self._tell()

    def hold_all_since(self, second: int) -> None:
        for table in (self._next, self._table):
            if table is not None:
                table.swept = second

    def sweep(self, now: float) -> bool:
        left = _SLICE
        while left > 0:
            if self._next is not None:
                try:
                    left -= _MOVING * self._move(max(1, left // _MOVING))
                except ReplicaFull:
                    self._abandon()
                    return False
                continue
            table = self._table
            last = min(self._swept_places + left, table.capacity)
            table.drop_expired(now, self._swept_places, last)
            left -= last - self._swept_places
            self._swept_places = last
            if last < table.capacity:
                continue
            self._swept_places = 0
            # Loading may leave it too large, and the end of entries does.
            if table.capacity <= _SPARE * capacity_for(len(table)):
                return False
            self._start_anew(capacity_for(len(table)))
        return True

    def _tell(self) -> None:
        told = Told(self.watermark, (self.salt, *self.older_salts), self.position)
        for table in (self._next, self._table):
            if table is not None:
                table.tell(told)

    # --- making it anew ----------------------------------------------------------------------

    def _expect(self, count: int) -> None:
        """Make room at once for a snapshot, of which some may be here already."""
        capacity = capacity_for(min(count, self._most))
        if capacity > self._table.capacity and self._next is None:
            self._start_anew(capacity)
            self._move(self._table.capacity)

    def _require_room_for(self, record: Record) -> None:
        table = self._table
        if len(table) >= self._most and not table.holds(record.key):
            raise ReplicaFull(len(table))

    @property
    def _is_tight(self) -> bool:
        """Whether there is room just for what comes in while the table is made anew."""
        table = self._table
        return table.used + table.capacity // _MOVES >= table.most_used

    def _make_room(self, taken: int) -> None:
        if self._next is None:
            count = len(self._table)
            # By doubling while much comes at once: it would be copied again and again.
            more = count if 4 * taken > count else count // 32
            self._start_anew(capacity_for(count + more))
        elif self._table.is_full:
            self._move(self._table.capacity)

    def _start_anew(self, capacity: int) -> None:
        self._moved = self._swept_places = 0
        self._next = self._storage.make(capacity)
        self._tell()

    def _abandon(self) -> None:
        if self._next is not None:
            self._next = None
            self._storage.discard()

    def _move(self, places: int) -> int:
        """Move so many places on; how many there were."""
        old, fresh = self._table, self._next
        if fresh is None:
            return 0
        first, last = self._moved, min(self._moved + places, old.capacity)
        fresh.take_from(old, first, last)
        self._moved = last
        if last == old.capacity:
            fresh.fresh_at, fresh.swept = old.fresh_at, old.swept
            self._storage.publish(fresh)
            self._table, self._next = fresh, None
            self._bind()
            old.words[Word.SUPERSEDED] = 1
        return last - first


_CHANGES, _SWEPT = int(Word.CHANGES), int(Word.SWEPT)
