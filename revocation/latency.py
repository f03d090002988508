"""How late revocations reach a copy: counts by how many seconds it took."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds; what took longer than the last is counted beside them."""


class Latencies:
    """A histogram that one thread writes and any may read."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0
        """Seconds, of all."""

    def note(self, seconds: float) -> None:
        """Count one. Below zero, where clocks differ, counts as none."""
        seconds = max(0.0, seconds)
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> Iterator[tuple[float, int]]:
        """For each bound, infinity last, how many took so long at the most."""
        so_far = 0
        for bound, count in zip((*BOUNDS, float("inf")), list(self._counts), strict=True):
            so_far += count
            yield bound, so_far
