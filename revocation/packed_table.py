"""An open-addressing table of records in flat memory, which other processes and languages can read.

Layout, little-endian, in this order (docs/replica.md shows it as C):

    header   4096 bytes   see `Word`, then the salts
    tags     1 byte each  0 never used, 255 deleted, else 1 + last byte of the key modulo 254
    ids      16 bytes each  the key without its kind
    levels   8 bytes each   kind in the highest byte, level below
    ends     4 bytes each   expiry in minutes since the epoch, rounded up; 2**32-1 for never

A record's place is the first 8 bytes of its id, as a number, modulo the capacity; then the places
after it. A search ends at the first tag that is 0. One writer; readers need no lock: a record is
written before its tag, never moved, and changed by single stores of its level and its end.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from enum import IntEnum
from struct import Struct

from .entry import NEVER, Record

MAGIC = int.from_bytes(b"GPCOPY01", "little")
HEADER = 4096
SALTS_AT = 512
SALT_SIZE = 32
MOST_SALTS = 9
SLOT = 1 + 16 + 8 + 4

LEAST_CAPACITY = 1024
FULLEST = 0.75
"""Of the places used, deleted ones included; beyond that the table is made anew."""
ROOM = 0.64
"""What a new table is filled to: 45 bytes a record, 39 when it is full."""

_FREE, _DELETED = 0, 255
_START_AND_LAST = Struct("<xQ7xB").unpack
"""Of a key: the first 8 bytes and the last byte of its id."""
_LEVEL = (1 << 56) - 1
_END_NEVER = (1 << 32) - 1
_MINUTE = 60


class Word(IntEnum):
    """The header's 64-bit words, by number."""

    MAGIC = 0
    SEQUENCE = 1
    """Odd while watermark and salts are being written."""
    CHANGES = 2
    """Rises after every change of a record, of the watermark or of the salts."""
    FRESH_AT = 3
    """Microseconds of CLOCK_BOOTTIME, plus 1; 0 where nobody vouches for the copy."""
    WATERMARK = 4
    """Plus 1; 0 for none."""
    SALTS = 5
    """How many; the present one first, each of 32 bytes at byte 512."""
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
        self.words = view[:HEADER].cast("Q")
        self._salts = view[SALTS_AT : SALTS_AT + MOST_SALTS * SALT_SIZE]
        if capacity is not None:
            self.words[Word.CAPACITY] = capacity
        elif self.words[Word.MAGIC] != MAGIC:
            raise ValueError("not a table of this format")
        self.capacity = self.words[Word.CAPACITY]
        if not self.capacity or len(buffer) != size_of(self.capacity):
            raise ValueError("a table of another size than it says")
        room = -(-self.capacity // 8) * 8
        ids, levels, ends = HEADER + room, HEADER + 17 * room, HEADER + 25 * room
        self._tags = view[HEADER : HEADER + self.capacity]
        self._ids = view[ids:levels]
        self._levels = view[levels:ends].cast("Q")
        self._ends = view[ends : ends + 4 * room].cast("I")
        # Last: a table without it is not one yet.
        self.words[Word.MAGIC] = MAGIC

    # --- reading -----------------------------------------------------------------------------

    def level_of(self, key: bytes) -> int:
        """A record's level, 0 where there is none."""
        tags, capacity = self._tags, self.capacity
        at = int.from_bytes(key[1:9], "little") % capacity
        tag = key[16] % 254 + 1
        for _ in range(capacity):
            found = tags[at]
            if found == tag:
                start = at * 16
                if self._ids[start : start + 16] == key[1:]:
                    word = self._levels[at]
                    if word >> 56 == key[0]:
                        return word & _LEVEL
            elif found == _FREE:
                break
            at = at + 1 if at + 1 < capacity else 0
        return 0

    def may_hold(self, keys: tuple[bytes, ...]) -> bool:
        """Whether there may be a record of one of these keys: True, too, where it takes a look."""
        tags, capacity = self._tags, self.capacity
        for key in keys:
            start, last = _START_AND_LAST(key)
            at = start % capacity
            found = tags[at]
            while found:
                if found == last % 254 + 1:
                    return True
                at += 1
                if at == capacity:
                    return True
                found = tags[at]
        return False

    def __len__(self) -> int:
        return self.words[Word.COUNT]

    def records(self, first: int = 0, last: int | None = None) -> Iterator[Record]:
        """Those of some places; expiries are those of the minutes that they were rounded up to."""
        for at in range(first, self.capacity if last is None else last):
            if self._tags[at] not in {_FREE, _DELETED}:
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
        return self.words[Word.USED] >= self.capacity * FULLEST

    # --- writing -----------------------------------------------------------------------------

    def merge(self, key: bytes, level: int, expires: int) -> bool:
        """Take the maximum of level and expiry; False where that changes nothing.

        The table must not be full.
        """
        end = _END_NEVER if expires >= NEVER else min(-(-expires // _MINUTE), _END_NEVER - 1)
        tags, capacity = self._tags, self.capacity
        at = int.from_bytes(key[1:9], "little") % capacity
        tag = key[16] % 254 + 1
        place = -1
        while True:
            found = tags[at]
            if found == _FREE:
                break
            if found == tag and self._is_at(key, at):
                return self._raise_to(at, level, end)
            if found == _DELETED and place < 0:
                place = at
            at = at + 1 if at + 1 < capacity else 0
        if place < 0:
            place = at
            self.words[Word.USED] += 1
        self._ids[16 * place : 16 * place + 16] = key[1:]
        self._levels[place] = key[0] << 56 | level
        self._ends[place] = end
        tags[place] = tag
        self.words[Word.COUNT] += 1
        return True

    def count_again(self) -> None:
        """Put right what a writer that died halfway has not counted."""
        tags = bytes(self._tags)
        self.words[Word.USED] = len(tags) - tags.count(_FREE)
        self.words[Word.COUNT] = self.words[Word.USED] - tags.count(_DELETED)

    def _is_at(self, key: bytes, at: int) -> bool:
        same = self._ids[16 * at : 16 * at + 16] == key[1:]
        return same and self._levels[at] >> 56 == key[0]

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
        tags, ends = self._tags, self._ends
        minute = int(now // _MINUTE)
        for at in range(first, min(last, self.capacity)):
            if ends[at] <= minute and tags[at] not in {_FREE, _DELETED}:
                tags[at] = _DELETED
                self.words[Word.COUNT] -= 1

    # --- watermark and salts -----------------------------------------------------------------

    def write_header(self, watermark: int, salts: list[bytes]) -> None:
        """Set both at once."""
        words = self.words
        words[Word.SEQUENCE] += 1
        words[Word.WATERMARK] = watermark + 1
        packed = b"".join(salt.ljust(SALT_SIZE, b"\0") for salt in salts)
        self._salts[: len(packed)] = packed
        words[Word.SALTS] = len(salts)
        words[Word.SEQUENCE] += 1

    def read_header(self) -> tuple[int, list[bytes]] | None:
        """Watermark and salts as they were at one moment; None while they are being written."""
        words = self.words
        before = words[Word.SEQUENCE]
        watermark, number = words[Word.WATERMARK] - 1, words[Word.SALTS]
        octets = bytes(self._salts[: number * SALT_SIZE])
        if before % 2 or before != words[Word.SEQUENCE]:
            return None
        return watermark, [octets[at : at + SALT_SIZE] for at in range(0, len(octets), SALT_SIZE)]
