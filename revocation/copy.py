"""What a follower of the denylist has learnt, and every check goes by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from .entry import NEVER, Record

_OLDER_SALTS = 8


class Sink(Protocol):
    """Where a follower puts what it learns. One follower writes; every call may be repeated."""

    def begin(self, salt: bytes) -> None:
        """Say that what is merged from here on was made with this salt: another epoch's, perhaps.

        Nothing that is held is dropped.
        """

    def merge(self, records: Iterable[Record]) -> None:
        """Take in records, by maximum of level and expiry; never the epoch's own."""

    def raise_watermark(self, watermark: int) -> None:
        """Refuse what was issued at or before this second, whoever's it is; it only rises."""

    def vouch(self, fresh_at: float | None) -> None:
        """Say that all that was written before this moment has been merged.

        In seconds of the follower's clock; None where nothing can be said any more.
        """

    def sweep(self, now: float) -> None:
        """Drop what expired at or before `now`, seconds since the epoch."""


class Copy(Sink, Protocol):
    """A sink that a check can read at the same time, from any thread."""

    @property
    def salt(self) -> bytes:
        """What the present epoch's keys are made with; empty before the first snapshot."""

    @property
    def older_salts(self) -> tuple[bytes, ...]:
        """Those of epochs that are gone, whose entries still count; the latest first."""

    @property
    def watermark(self) -> int: ...

    @property
    def fresh_at(self) -> float | None: ...

    def level_of(self, key: bytes) -> int:
        """A record's level, 0 where there is none."""

    def holds_any(self, keys: tuple[bytes, ...]) -> bool:
        """Whether it may hold one of these; False is certain, and what nearly every check gets."""

    def __len__(self) -> int: ...


class MemoryCopy:
    """Implements `Copy` in dictionaries of this process."""

    def __init__(self) -> None:
        self.salt = b""
        self.older_salts: tuple[bytes, ...] = ()
        self.watermark = -1
        self.fresh_at: float | None = None
        self._levels: dict[bytes, int] = {}
        self._expiries: dict[bytes, int] = {}

    def level_of(self, key: bytes) -> int:
        # An entry outlives every token that it can hit, so an expired one needs no second look.
        return self._levels.get(key, 0)

    def holds_any(self, keys: tuple[bytes, ...]) -> bool:
        return not self._levels.keys().isdisjoint(keys)

    def __len__(self) -> int:
        return len(self._levels)

    def begin(self, salt: bytes) -> None:
        if self.salt and salt != self.salt:
            older = (self.salt, *self.older_salts)
            self.older_salts = tuple(old for old in older if old != salt)[:_OLDER_SALTS]
        self.salt = salt

    def merge(self, records: Iterable[Record]) -> None:
        for record in records:
            # The level last: a reader between the two lines sees no entry or the whole one.
            self._expiries[record.key] = max(self._expiries.get(record.key, 0), record.expires)
            self._levels[record.key] = max(self._levels.get(record.key, 0), record.level)

    def raise_watermark(self, watermark: int) -> None:
        self.watermark = max(self.watermark, watermark)

    def vouch(self, fresh_at: float | None) -> None:
        self.fresh_at = fresh_at

    def sweep(self, now: float) -> None:
        expired = [key for key, expires in self._expiries.items() if expires <= now < NEVER]
        for key in expired:
            del self._levels[key]
            del self._expiries[key]
