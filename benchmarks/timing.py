"""Times contenders in interleaved rounds, so that whatever disturbs one disturbs all."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from time import perf_counter
from typing import Any

MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the job: `step` is called with each of `inputs` in turn."""

    name: str
    step: Callable[[Any], object]
    inputs: Sequence[Any]
    """Taken in order over all rounds, from the start again only when they run out."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What one operation took, microseconds, in each round."""

    name: str
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


@dataclass(frozen=True, slots=True)
class Row:
    """Ours beside one peer."""

    group: str
    case: str
    ours: Timing
    peer: Timing
    as_rate: bool = False
    """Whether a reader thinks of it as so many a second."""

    @property
    def ratio(self) -> float:
        """The peer's time over ours in the same round, the median: above 1, ours is the faster one.

        A machine that others use may be half as fast for seconds, so for whole rounds.
        """
        rounds = zip(self.peer.rounds, self.ours.rounds, strict=True)
        return statistics.median(theirs / ours for theirs, ours in rounds)

    def to_json(self) -> dict[str, Any]:
        return {
            "group": self.group,
            "case": self.case,
            "ours": _described(self.ours),
            "peer": _described(self.peer),
            "ratio": self.ratio,
        }


def _described(timing: Timing) -> dict[str, Any]:
    return {
        "name": timing.name,
        "median_us": timing.median,
        "fastest_us": min(timing.rounds),
        "slowest_us": max(timing.rounds),
        "rounds": len(timing.rounds),
    }


def measure(contenders: Sequence[Contender], *, rounds: int, count: int) -> list[Timing]:
    """Time `count` operations of each contender in turn, `rounds` times over: A B C, B C A, …

    Another one begins each round: whoever follows one that waits for a server finds the processor's
    caches cold. One uncounted round warms up. The garbage collector is off within a round, as in
    `timeit`.
    """
    sources = [islice(cycle(contender.inputs), None) for contender in contenders]
    spent: list[list[float]] = [[] for _ in contenders]
    turns = list(zip(contenders, sources, spent, strict=True))
    for number in range(rounds + 1):
        first = number % len(turns)
        for contender, source, times in (*turns[first:], *turns[:first]):
            batch = list(islice(source, count))
            seconds = _timed(contender.step, batch)
            if number:
                times.append(seconds / count * MICROSECONDS)
    return [
        Timing(contender.name, tuple(times))
        for contender, times in zip(contenders, spent, strict=True)
    ]


def _timed(step: Callable[[Any], object], batch: Iterable[Any]) -> float:
    gc.collect(0)
    gc.disable()
    try:
        start = perf_counter()
        for item in batch:
            step(item)
        return perf_counter() - start
    finally:
        gc.enable()


def rows(group: str, case: str, timings: Sequence[Timing], *, as_rate: bool = False) -> list[Row]:
    """The first timing, ours, beside each of the others."""
    ours, *peers = timings
    return [Row(group, case, ours, peer, as_rate) for peer in peers]
