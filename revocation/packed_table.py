"""An open-addressing table of records in flat memory, which other processes and languages can read.

Layout, little-endian, in this order (docs/replica.md shows it in full):

    header   4096 bytes   see `Word`, then two blocks, see `Told`
    tags     1 byte each  0 never used, 255 deleted, else 1 + last byte of the key modulo 254
    ids      16 bytes each  the key without its kind
    levels   8 bytes each   kind in the highest byte, level below
    ends     4 bytes each   expiry in minutes since the epoch, rounded up; 2**32-1 for never

A record's place is the first 8 bytes of its id, as a number, modulo the capacity; then the places
after it, `MOST_PROBES` at the most. A search ends at the first tag that is 0. One writer; readers
need no lock: a record is written before its tag, never moved, and changed by single stores of its
level and its end. At whatever instruction a writer dies, what it leaves is a whole table.
"""

from __future__ import annotations

import mmap
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from .entry import NEVER, Record
from .errors import ReplicaFull
from .feed import Position

MAGIC = int.from_bytes(b"GPCOPY02", "little")
HEADER = 4096
BLOCKS_AT = 512
BLOCK_SIZE = 512
MOST_SALTS = 9
SLOT = 1 + 16 + 8 + 4

LEAST_CAPACITY = 1024
FULLEST = 0.75
"""Of the places used, deleted ones included; beyond that the table is made anew."""
ROOM = 0.64
"""What a new table is filled to: 45 bytes a record, 39 when it is full."""
MOST_PROBES = 4096
"""Places looked at for a key. Among random keys the longest search takes a few hundred."""

_FREE, _DELETED = 0, 255
_TAKEN = re.compile(rb"[^\x00\xff]")
_LEVEL = (1 << 56) - 1
_END_NEVER = (1 << 32) - 1
_MINUTE = 60
_GLANCE = 24
"""Places looked at in one step; nearly every search ends among them."""
_GLANCE_END = HEADER + _GLANCE
_first_half = struct.Struct("<xQ").unpack_from
_halves_and_lasts = struct.Struct("<Q7xB2x").iter_unpack


class Word(IntEnum):
    """The header's 64-bit words, by number."""

    MAGIC = 0
    SEQUENCE = 1
    """How often a block was written: the present one is this modulo 2."""
    CHANGES = 2
    """Rises after every change of a record, of the watermark or of the salts.

    A new table begins with the nanoseconds of CLOCK_BOOTTIME, so above all numbers of older ones.
    """
    FRESH_AT = 3
    """Microseconds of CLOCK_BOOTTIME, plus 1; 0 where nobody vouches for the copy."""
    SWEPT = 4
    """The latest second as of which records that had expired were dropped."""
    CAPACITY = 6
    COUNT = 7
    SUPERSEDED = 8
    """1 once another file has taken this one's place."""
    USED = 9
    """Places whose tag is not 0."""
    BOOT = 10
    """This and the next: the boot of the machine, whose clock `FRESH_AT` goes by."""
    OWNER = 12
    """This and the next: which denylist it is a copy of."""


# Plain numbers: an enum's member costs more than the look-up itself.
_CHANGES, _COUNT, _USED = int(Word.CHANGES), int(Word.COUNT), int(Word.USED)
_SEQUENCE, _FRESH_AT, _SWEPT = int(Word.SEQUENCE), int(Word.FRESH_AT), int(Word.SWEPT)
_MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Told:
    """What a block says: watermark plus 1, salts, and how far in the feed the copy has come."""

    watermark: int = -1
    salts: tuple[bytes, ...] = ()
    """The present one first, each of at most 32 bytes."""
    position: Position | None = None
    """All up to here has been merged; more may have been."""

    _FORM = struct.Struct(f"<QQ{32 * MOST_SALTS}sQ64s64s")

    def packed(self) -> bytes:
        salts = b"".join(salt.ljust(32, b"\0") for salt in self.salts)
        at = self.position
        epoch, chain = (at.epoch.encode(), at.chain.encode()) if at else (b"", b"")
        if at is None or len(epoch) > 64 or len(chain) > 64:
            return self._FORM.pack(self.watermark + 1, len(self.salts), salts, 0, b"", b"")
        return self._FORM.pack(self.watermark + 1, len(self.salts), salts, at.seq + 1, epoch, chain)

    @classmethod
    def unpacked(cls, octets: bytes) -> Told:
        watermark, number, salts, seq, epoch, chain = cls._FORM.unpack_from(octets)
        if number > MOST_SALTS:
            raise ValueError("a block that counts more salts than it has room for")
        position = None
        if seq:
            names = (name.rstrip(b"\0").decode() for name in (epoch, chain))
            position = Position(next(names), seq - 1, next(names))
        told = tuple(salts[32 * at : 32 * at + 32] for at in range(number))
        return cls(watermark - 1, told, position)


def size_of(capacity: int) -> int:
    """Bytes of a table with so many places."""
    return HEADER + -(-capacity // 8) * 8 * SLOT


def capacity_for(count: int) -> int:
    """Places of a new table for so many records."""
    return max(LEAST_CAPACITY, int(count / ROOM) + 1)


class PackedTable:
    """Records in a buffer; `level_of` may run while another thread or process writes."""

    def __init__(self, buffer: mmap.mmap, *, capacity: int | None = None) -> None:
        """Of a buffer of zeros, with `capacity`; else of one that holds a table.

        Raises `ValueError` for one that does not.
        """
        view = memoryview(buffer)
        self._buffer = buffer
        self.words = view[:BLOCKS_AT].cast("Q")
        self._blocks = view[BLOCKS_AT : BLOCKS_AT + 2 * BLOCK_SIZE]
        if capacity is not None:
            self.words[Word.CAPACITY] = capacity
        elif len(buffer) < HEADER or self.words[Word.MAGIC] != MAGIC:
            raise ValueError("not a table of this format")
        self.capacity = self.words[Word.CAPACITY]
        if not self.capacity or len(buffer) != size_of(self.capacity):
            raise ValueError("a table of another size than it says")
        if max(self.words[_COUNT], self.words[_USED]) > self.capacity:
            raise ValueError("a table that counts more records than it has room for")
        room = -(-self.capacity // 8) * 8
        ids, levels, ends = HEADER + room, HEADER + 17 * room, HEADER + 25 * room
        self._tags = view[HEADER : HEADER + self.capacity]
        self._ids = view[ids:levels]
        self._levels = view[levels:ends].cast("Q")
        self._ends = view[ends : ends + 4 * room].cast("I")
        self._last_glance = self.capacity - _GLANCE
        self.used = self.words[_USED]
        self.most_used = int(self.capacity * FULLEST)
        if capacity is not None:
            self.words[_CHANGES] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            # Last: a table without it is not one yet.
            self.words[Word.MAGIC] = MAGIC

    # --- reading -----------------------------------------------------------------------------

    def level_of(self, key: bytes) -> int:
        """A record's level, 0 where there is none."""
        (first,) = _first_half(key)
        at = first % self.capacity
        tag = key[16] % 254 + 1
        if at <= self._last_glance:
            seen = self._buffer[at + HEADER : at + _GLANCE_END]
            if tag not in seen and 0 in seen:
                return 0
        return self._search(key, at, tag)

    def may_hold(self, keys: tuple[bytes, ...]) -> bool:
        """Whether it may hold one of these; False is certain, and what nearly every check gets."""
        buffer, capacity, last_glance = self._buffer, self.capacity, self._last_glance
        for key in keys:
            (first,) = _first_half(key)
            at = first % capacity
            tag = key[16] % 254 + 1
            if at <= last_glance:
                seen = buffer[at + HEADER : at + _GLANCE_END]
                if tag not in seen and 0 in seen:
                    continue
            if self._search(key, at, tag):
                return True
        return False

    def may_hold_ids(self, ids: bytes) -> bool:
        """The same of `Probe.ids`: False is certain, True a suspicion."""
        buffer, capacity = self._buffer, self.capacity
        for first, last in _halves_and_lasts(ids):
            at = first % capacity + HEADER
            if not buffer[at]:
                continue
            if at > self._last_glance + HEADER:
                return True
            tag = last % 254 + 1
            seen = buffer[at : at + _GLANCE]
            if tag not in seen and 0 in seen:
                continue
            free = seen.find(0)
            if free < 0 or seen.find(tag, 0, free) >= 0:
                return True
        return False

    def _search(self, key: bytes, at: int, tag: int) -> int:
        tags, capacity = self._tags, self.capacity
        for _ in range(MOST_PROBES):
            found = tags[at]
            if found == tag and self._is_at(key, at):
                word = self._levels[at]
                # Once more: the record may have gone, and another taken its place.
                if self._is_at(key, at) and word >> 56 == key[0]:
                    return word & _LEVEL
            elif found == _FREE:
                break
            at += 1
            if at == capacity:
                at = 0
        return 0

    def _is_at(self, key: bytes, at: int) -> bool:
        same = self._ids[16 * at : 16 * at + 16] == key[1:]
        return same and self._levels[at] >> 56 == key[0]

    def __len__(self) -> int:
        return self.words[_COUNT]

    def records(self) -> Iterator[Record]:
        """All of them; expiries are those of the minutes that they were rounded up to."""
        for taken in _TAKEN.finditer(bytes(self._tags)):
            at = taken.start()
            word, end = self._levels[at], self._ends[at]
            key = bytes([word >> 56]) + bytes(self._ids[16 * at : 16 * at + 16])
            yield Record(key, word & _LEVEL, NEVER if end == _END_NEVER else end * _MINUTE)

    def identify(self, boot: bytes, owner: bytes) -> None:
        """Say on which boot of the machine it was made, and of which denylist; 16 bytes each."""
        for at, octets in ((Word.BOOT, boot), (Word.OWNER, owner)):
            self.words[at] = int.from_bytes(octets[:8], "little")
            self.words[at + 1] = int.from_bytes(octets[8:], "little")

    @property
    def identity(self) -> tuple[bytes, bytes]:
        """What `identify` said."""
        boot, owner = (
            b"".join(self.words[word].to_bytes(8, "little") for word in (at, at + 1))
            for at in (Word.BOOT, Word.OWNER)
        )
        return boot, owner

    @property
    def is_full(self) -> bool:
        """Whether it has to be made anew before more goes in."""
        return self.used >= self.most_used

    # --- writing -----------------------------------------------------------------------------

    def merge(self, key: bytes, level: int, expires: int) -> bool:
        """Take the maximum of level and expiry; False where that changes nothing.

        The table must not be full. Raises `ReplicaFull` where `MOST_PROBES` places are taken.
        """
        end = _END_NEVER if expires >= NEVER else min(-(-expires // _MINUTE), _END_NEVER - 1)
        return self._put(key, key[0] << 56 | level, end)

    def _put(self, key: bytes, word: int, end: int) -> bool:
        (first,) = _first_half(key)
        at = first % self.capacity
        tag = key[16] % 254 + 1
        place = -1
        if at <= self._last_glance:
            seen = self._buffer[at + HEADER : at + _GLANCE_END]
            free = seen.find(0)
            if free >= 0 and seen.find(tag, 0, free) < 0 and seen.find(_DELETED, 0, free) < 0:
                place = at + free
        if place < 0:
            place, found = self._place_for(key, at, tag)
            if found:
                return self._raise_to(place, word & _LEVEL, end)
        reused = self._tags[place] == _DELETED
        self._ids[16 * place : 16 * place + 16] = key[1:]
        self._levels[place] = word
        self._ends[place] = end
        self._tags[place] = tag
        if not reused:
            self.used += 1
            self.words[_USED] = self.used
        self.words[_COUNT] += 1
        return True

    def _place_for(self, key: bytes, at: int, tag: int) -> tuple[int, bool]:
        """Where a key is, or goes; and whether it is there."""
        tags, capacity = self._tags, self.capacity
        place = -1
        for _ in range(MOST_PROBES):
            found = tags[at]
            if found == _FREE:
                return (at if place < 0 else place), False
            if found == tag and self._is_at(key, at):
                return at, True
            if found == _DELETED and place < 0:
                place = at
            at += 1
            if at == capacity:
                at = 0
        if place < 0:
            raise ReplicaFull(len(self))
        return place, False

    def holds(self, key: bytes) -> bool:
        """Whether there is a record of this key, of whatever level."""
        (first,) = _first_half(key)
        try:
            return self._place_for(key, first % self.capacity, key[16] % 254 + 1)[1]
        except ReplicaFull:
            return False

    def count_change(self) -> None:
        """Let readers see that what they looked up may be out of date."""
        self.words[_CHANGES] += 1

    def count_again(self) -> None:
        """Put right what a writer that died halfway has not counted."""
        tags = bytes(self._tags)
        self.used = len(tags) - tags.count(_FREE)
        self.words[_USED] = self.used
        self.words[_COUNT] = self.used - tags.count(_DELETED)

    def _raise_to(self, at: int, level: int, end: int) -> bool:
        changed = False
        if end > self._ends[at]:
            self._ends[at] = end
            changed = True
        if level > self._levels[at] & _LEVEL:
            self._levels[at] = self._levels[at] >> 56 << 56 | level
            changed = True
        return changed

    def drop_expired(self, now: float, first: int, last: int) -> None:
        """Drop what expired at or before `now` in the places from `first` up to `last`."""
        self.swept = max(self.swept, int(now))  # first: a check must not miss what is gone
        tags, minute, dropped = self._tags, int(now // _MINUTE), 0
        taken = bytes(tags[first:last])
        for at, end in enumerate(self._ends[first : first + len(taken)].tolist(), first):
            if end <= minute and taken[at - first] not in {_FREE, _DELETED}:
                tags[at] = _DELETED
                dropped += 1
        self.words[_COUNT] -= dropped

    def take_from(self, other: PackedTable, first: int, last: int) -> None:
        """Merge what another table has in the places from `first` up to `last`."""
        taken = bytes(other._tags[first:last])
        ids = bytes(other._ids[16 * first : 16 * (first + len(taken))])
        words = other._levels[first : first + len(taken)].tolist()
        ends = other._ends[first : first + len(taken)].tolist()
        for at, tag in enumerate(taken):
            if tag not in {_FREE, _DELETED}:
                key = (words[at] >> 56).to_bytes(1, "little") + ids[16 * at : 16 * at + 16]
                self._put(key, words[at], ends[at])

    def become(self, other: PackedTable) -> None:
        """Take on all that another table of the same capacity holds, and its age."""
        changes, identity = self.words[_CHANGES], self.identity
        buffer = memoryview(self._buffer)
        buffer[8:] = memoryview(other._buffer)[8:]
        # Its writer may go on, and have let go of more between the two.
        self.swept = max(self.swept, other.swept)
        self.words[Word.SUPERSEDED] = 0
        self.words[_CHANGES] = changes
        self.identify(*identity)
        self.count_again()

    # --- age ---------------------------------------------------------------------------------

    @property
    def fresh_at(self) -> float | None:
        """The moment by CLOCK_BOOTTIME, seconds, for which somebody vouches; None for none."""
        at = self.words[_FRESH_AT]
        return (at - 1) / _MICRO if at else None

    @fresh_at.setter
    def fresh_at(self, moment: float | None) -> None:
        self.words[_FRESH_AT] = 0 if moment is None else int(moment * _MICRO) + 1

    @property
    def swept(self) -> int:
        """The second, by the epoch, up to which records may have been dropped; 0 for none."""
        return self.words[_SWEPT]

    @swept.setter
    def swept(self, second: int) -> None:
        self.words[_SWEPT] = second

    # --- watermark, salts and position -------------------------------------------------------

    def tell(self, told: Told) -> None:
        """Set them all at once."""
        sequence = self.words[_SEQUENCE] + 1
        packed = told.packed()
        at = sequence % 2 * BLOCK_SIZE
        self._blocks[at : at + len(packed)] = packed
        self.words[_SEQUENCE] = sequence

    def told(self) -> Told:
        """All of them as they were at one moment."""
        while True:
            sequence = self.words[_SEQUENCE]
            at = sequence % 2 * BLOCK_SIZE
            octets = bytes(self._blocks[at : at + BLOCK_SIZE])
            if sequence == self.words[_SEQUENCE]:
                return Told.unpacked(octets)
