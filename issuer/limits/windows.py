"""One limit: some windows of time, each with the number that fits into it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from limits import RateLimitItem, parse_many
from limits.strategies import FixedWindowRateLimiter

from .storage import SharedStorage

LONGEST_TEXT = 200
LONGEST_WINDOW = 366 * 86_400
"""Seconds."""


def parse_windows(text: str) -> tuple[RateLimitItem, ...]:
    """The windows of `5 per minute; 20 per hour`; none of an empty text. Raises `ValueError`."""
    if not text.strip():
        return ()
    if len(text) > LONGEST_TEXT:
        raise ValueError("is too long")
    try:
        found = parse_many(text)
    except ValueError:
        raise ValueError('is not of the form "5 per minute; 20 per hour"') from None
    if any(int(number) == 0 for number in re.findall(r"\d+", text)):
        raise ValueError("has a zero in it; an empty text switches the limit off")
    if any(item.get_expiry() > LONGEST_WINDOW for item in found):
        raise ValueError("has a window that is longer than a year")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Windows:
    """A limit by its setting's name."""

    name: str
    items: tuple[RateLimitItem, ...]

    def counter(self, digest: str) -> Counter:
        """What is counted for somebody."""
        return Counter(self, digest)


@dataclass(frozen=True, slots=True)
class Counter:
    """One limit for one account, address, network or session."""

    windows: Windows
    digest: str

    def keys(self) -> dict[str, RateLimitItem]:
        """Each window by the key of its count."""
        return {item.key_for(self.windows.name, self.digest): item for item in self.windows.items}


@dataclass(frozen=True, slots=True)
class Full:
    """A limit that is reached, and in how many seconds its windows have all begun anew."""

    name: str
    retry_after: int


class Tally:
    """Counts, and tells what is full.

    A window begins with the first thing counted in it and ends a fixed time later, whatever comes
    meanwhile: who goes on while it is full makes nobody wait longer.
    """

    def __init__(self, storage: SharedStorage) -> None:
        self._storage = storage
        self._strategy = FixedWindowRateLimiter(storage)

    def full(self, counters: Sequence[Counter]) -> Full | None:
        """The limit of these that is full for longest; None where there is room in all."""
        windows = [
            (counter.windows.name, key, item.amount)
            for counter in counters
            for key, item in counter.keys().items()
        ]
        counts = self._storage.get_many([key for _, key, _ in windows])
        return self._longest(
            (name, key)
            for (name, key, amount), count in zip(windows, counts, strict=True)
            if count >= amount
        )

    def count(self, counters: Sequence[Counter]) -> Full | None:
        """Count one more in every window; for which that was too many, the one full for longest.

        Of as many as come at once no more get None than there is room for.
        """
        over = [
            (counter.windows.name, key)
            for counter in counters
            for key, item in counter.keys().items()
            if not self._strategy.hit(item, counter.windows.name, counter.digest)
        ]
        return self._longest(over)

    def forget(self, counter: Counter) -> None:
        """Begin every window anew."""
        for item in counter.windows.items:
            self._strategy.clear(item, counter.windows.name, counter.digest)

    def _longest(self, windows: Iterable[tuple[str, str]]) -> Full | None:
        """Of some full windows, each by its limit's name and its key."""
        waits = [Full(name, seconds_until(self._storage.get_expiry(key))) for name, key in windows]
        return max(waits, key=lambda full: full.retry_after, default=None)


def seconds_until(ends: float) -> int:
    """Whole seconds from now until a time since the epoch, rounded up; 1 at least."""
    return max(1, math.ceil(ends - time.time()))
