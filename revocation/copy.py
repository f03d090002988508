"""What a follower of the denylist has learnt, and every check goes by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from .entry import Record

OLDER_SALTS = 8
"""Epochs that are gone and whose entries still count."""


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

    def hold_all_since(self, second: int) -> None:
        """Say that all is here again that was in force at this second, by the store's clock.

        What had been let go later than that, by clocks that were ahead, is known again; what was
        over by then may be missing.
        """

    def sweep(self, now: float) -> bool | None:
        """Drop what expired at or before `now`, seconds since the epoch.

        True where some of it is left for the next call, so that the feed need not wait.
        """


class Copy(Protocol):
    """What was put into a sink, for a check to read at the same time, from any thread."""

    @property
    def salt(self) -> bytes:
        """What the present epoch's keys are made with; empty before the first snapshot."""

    @property
    def older_salts(self) -> tuple[bytes, ...]:
        """Those of epochs that are gone, whose entries still count; the latest first."""

    @property
    def watermark(self) -> int: ...

    @property
    def fresh_at(self) -> float | None:
        """As `vouch` said; of a shared copy also what brings salts and watermark up to date."""

    @property
    def changes(self) -> int:
        """Rises after every change: what was looked up under this number need not be again.

        It is asked after `fresh_at` and before anything is looked up.
        """

    @property
    def swept(self) -> int:
        """The second up to which entries that were over may have been dropped; 0 for none."""

    def level_of(self, key: bytes) -> int:
        """A record's level, 0 where there is none."""

    def may_hold(self, keys: tuple[bytes, ...]) -> bool:
        """Whether it holds one of these; False is certain, and what nearly every check gets."""

    def may_hold_ids(self, ids: bytes) -> bool:
        """The same of `Probe.ids`: of token, session and subject."""

    def go_on_after_fork(self) -> None:
        """In the child: no other thread is here, wherever one was."""

    def __len__(self) -> int: ...
