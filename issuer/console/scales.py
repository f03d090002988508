"""Where things are on a plot: steps of time, round numbers on an axis, and how they are worded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time that somebody looks at, in seconds."""

    key: str
    name: str
    length: int
    step: int
    """Of one bar."""
    tick: int
    """Between two words on the axis."""


WINDOWS = (
    Window("1h", "Last hour", 3600, 120, 900),
    Window("24h", "Last 24 hours", 86_400, 3600, 6 * 3600),
    Window("7d", "Last 7 days", 7 * 86_400, 6 * 3600, 86_400),
)


def window_of(key: str) -> Window:
    """The one of this key, or the second: a day."""
    return next((window for window in WINDOWS if window.key == key), WINDOWS[1])


def axis(most: float) -> tuple[float, ...]:
    """Round numbers from zero to above `most`, three or four steps of 1, 2 or 5 times ten to n."""
    if most <= 0:
        return (0, 1)
    step = 10.0 ** math.floor(math.log10(most))
    for part in (0.2, 0.5, 1, 2, 5):
        if most <= 4 * step * part:
            step *= part
            break
    step = max(step, 1.0)
    return tuple(step * count for count in range(math.ceil(most / step) + 1))


def utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def clock_time(seconds: float) -> str:
    """`14:05`; `27 Nov` at midnight."""
    at = utc(seconds)
    return f"{at.day} {at:%b}" if (at.hour, at.minute) == (0, 0) else f"{at:%H:%M}"


def moment(seconds: float) -> str:
    """`28 Nov 2026, 14:05:09`."""
    at = utc(seconds)
    return f"{at.day} {at:%b %Y, %H:%M:%S}"


def iso(seconds: float) -> str:
    """For `<time datetime>`."""
    return f"{utc(seconds):%Y-%m-%dT%H:%M:%SZ}"


_SPANS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def span(seconds: float) -> str:
    """`2 days`, `3 hours`, `40 seconds`: the largest that fits, whole."""
    whole = max(0, int(seconds))
    for name, size in _SPANS:
        if whole >= size or size == 1:
            count = whole // size
            return f"{count} {name}" if count == 1 else f"{count} {name}s"
    raise AssertionError("unreachable")


def latency(seconds: float | None) -> str:
    """`2.5 ms`, `1 s`; beyond the largest bound `more than 5 s`."""
    if seconds is None:
        return "more than 5 s"
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def ticks(since: float, until: float, every: int) -> Sequence[int]:
    """Round times in between; too near to an edge there is no room for a word."""
    margin = (until - since) * 0.04
    first = math.ceil((since + margin) / every) * every
    return range(first, int(until - margin) + 1, every)
