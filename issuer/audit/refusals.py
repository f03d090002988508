"""Refusals, of which an attacker can cause any number: the first ones each, then their number."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from .event import Event, event_id

EACH = 30
"""Refusals of one kind and one network that are written down each, in a minute and a process."""
MINUTE = 60.0
_MORE = "more"
_MOST_KEYS = 1_000
"""Kinds and networks in a minute: an IPv6 /40 has 65,536 of our networks, and must fill no disk."""


@dataclass(slots=True)
class _Count:
    begun: float
    seen: int
    last: Event


def others(event: Event) -> int:
    """How many refusals an event stands for beside its own."""
    more = event.details.get(_MORE, 0)
    return more if isinstance(more, int) and more > 0 else 0


class Refusals:
    """Tells which refusals are written down each, and sums up the rest."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, str], _Count] = {}

    def admit(self, event: Event, network: str) -> bool:
        """Whether this one is written down by itself."""
        key = (event.kind.value, event.why, network)
        with self._lock:
            if key not in self._counts and len(self._counts) >= _MOST_KEYS:
                key = (event.kind.value, event.why, "")  # those that come from everywhere
            count = self._counts.get(key)
            if count is None:
                count = self._counts[key] = _Count(self._clock(), 0, event)
            count.seen += 1
            count.last = event
            return count.seen <= EACH

    def sums(self, *, all_of_them: bool = False) -> list[Event]:
        """An event for each minute that is over in which there were more."""
        now = self._clock()
        with self._lock:
            over = [
                key
                for key, count in self._counts.items()
                if all_of_them or now - count.begun >= MINUTE or now < count.begun
            ]
            counts = [self._counts.pop(key) for key in over]
        return [
            replace(
                count.last,
                details={**count.last.details, _MORE: count.seen - EACH - 1},
                id=event_id(),
            )
            for count in counts
            if count.seen > EACH
        ]
