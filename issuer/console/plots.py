"""Plots as values: what the template draws as SVG, and tells in a table beside it.

Places are in percent of the plotting area, so that words keep their size on any screen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keys import Key, KeyState, RotationPolicy

from ..replica_reading import Latency, Reading, latency_between
from .queries import ALARMS, BLOCKS
from .scales import Window, axis, clock_time, latency, moment, span, ticks
from .watching import Noted


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; `kind` is its class in the stylesheet, `text` what a pointer is told."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The same for those who do not see it, or want the numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """`id` is its own on its page; `says` is what there is to see, in a sentence."""

    id: str
    title: str
    says: str
    unit: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    table: Table
    boxes: tuple[Box, ...] = ()
    line: str = ""
    """An SVG path in a field of a hundred by a hundred."""
    legend: tuple[tuple[str, str], ...] = ()
    """Kind of a box, and what it stands for."""
    empty: str = ""
    """Said in the middle of a plot that has nothing to show."""
    rows: tuple[str, ...] = field(default=())
    """Names of rows, for a time line."""


def _x_ticks(since: float, until: float, every: int) -> tuple[Tick, ...]:
    return tuple(Tick(_part(at, since, until), clock_time(at)) for at in ticks(since, until, every))


def _y_ticks(numbers: Sequence[float]) -> tuple[Tick, ...]:
    return tuple(Tick(100 - 100 * number / numbers[-1], f"{number:,.0f}") for number in numbers)


def _part(at: float, since: float, until: float) -> float:
    return round(100 * (at - since) / (until - since), 3)


# --- the denylist's size -------------------------------------------------------------------------


def denylist_size(
    sizes: Sequence[tuple[int, int]], window: Window, now: float, present: int
) -> Plot:
    """A line, broken where nobody looked; `present` is how many entries there are now."""
    since = now - window.length
    numbers = axis(max([present, *(size for _, size in sizes)]))
    # Nobody looked for longer than this: the issuers were away.
    gap = 180
    points = [*sizes, (int(now), present)]
    line: list[str] = []
    before: int | None = None
    for at, size in points:
        x, y = _part(max(at, since), since, now), round(100 - 100 * size / numbers[-1], 3)
        line.append(f"{'M' if before is None or at - before > gap else 'L'}{x} {y}")
        before = at
    most = max(points, key=lambda point: point[1])
    return Plot(
        id="denylist-size",
        title="Size of the denylist",
        says=f"{_count(present, 'revocation')} in force now; at most {most[1]:,}"
        f" at {moment(most[0])} UTC.",
        unit="revocations in force",
        x_ticks=_x_ticks(since, now, window.tick),
        y_ticks=_y_ticks(numbers),
        line=" ".join(line),
        table=Table(
            ("Time (UTC)", "Most in force"),
            tuple((moment(at), f"{size:,}") for at, size in _most_of_each(points, window.step)),
        ),
    )


def _most_of_each(points: Sequence[tuple[int, int]], step: int) -> list[tuple[int, int]]:
    most: dict[int, int] = {}
    for at, size in points:
        begun = at - at % step
        most[begun] = max(most.get(begun, 0), size)
    return sorted(most.items())


# --- failures and blocks -------------------------------------------------------------------------


_TROUBLE = (
    ("failed", "failure", "Failures: refused logins, refreshes, clients"),
    ("blocked", "block", "Blocks: limits reached, sessions ended for reuse"),
    ("alarmed", "alarm", "Alarms of the anomaly rules"),
)
"""From the bottom upwards."""


def trouble(counts: Mapping[tuple[int, str], int], window: Window, now: float) -> Plot:
    """Bars of failures, with blocks and alarms on top of them."""
    step = window.step
    until = int(now) - int(now) % step + step
    since = until - window.length
    begins = range(since, until, step)
    found = {name: dict.fromkeys(begins, 0) for name, _, _ in _TROUBLE}
    for (begun, kind), count in counts.items():
        of_its_kind = found[_trouble_of(kind)]
        if begun in of_its_kind:
            of_its_kind[begun] += count
    sums = {begun: sum(each[begun] for each in found.values()) for begun in begins}
    numbers = axis(max(sums.values()))
    boxes: list[Box] = []
    for begun in begins:
        x, width = _part(begun, since, until), 100 * step / window.length
        top = 100.0
        for name, noun, _ in _TROUBLE:
            if count := found[name][begun]:
                height = 100 * count / numbers[-1]
                top -= height
                text = f"{moment(begun)}: {_count(count, noun)}"
                boxes.append(Box(x + width * 0.1, top, width * 0.8, height, name, text))
    totals = [_count(sum(found[name].values()), noun) for name, noun, _ in _TROUBLE]
    says = f"{totals[0]}, {totals[1]} and {totals[2]}, {window.name.lower()}."
    if any(sums.values()):
        says += f" The most from {moment(max(begins, key=sums.__getitem__))} UTC on."
    return Plot(
        id="trouble",
        title="Failures and blocks",
        says=says,
        unit=f"events each {span(step).removeprefix('1 ')}",
        x_ticks=_x_ticks(since, until, window.tick),
        y_ticks=_y_ticks(numbers),
        boxes=tuple(boxes),
        legend=tuple((name, text) for name, _, text in _TROUBLE),
        empty="" if any(sums.values()) else "Nothing was refused or blocked.",
        table=Table(
            ("From (UTC)", "Failures", "Blocks", "Alarms"),
            tuple(
                (moment(begun), *(str(found[name][begun]) for name, _, _ in _TROUBLE))
                for begun in begins
                if sums[begun]
            ),
        ),
    )


def _trouble_of(kind: str) -> str:
    return "alarmed" if kind in ALARMS else "blocked" if kind in BLOCKS else "failed"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


# --- keys ----------------------------------------------------------------------------------------


def key_lines(keys: Sequence[Key], policy: RotationPolicy, now: float) -> Plot:
    """A row for each key: when it waited, signs, and verifies what it signed."""
    # Which algorithm's present key makes room for its successor when.
    due = {
        key.alg: float((key.activated or 0) + policy.period(key.alg))
        for key in keys
        if key.state is KeyState.ACTIVE
    }
    phases = [phases_of(key, policy, max(now, due.get(key.alg, now)), now) for key in keys]
    since = min([now - 60, *(phase[0][1] for phase in phases)])
    until = max([now + 60, *(phase[-1][2] for phase in phases)])
    boxes: list[Box] = []
    rows: list[str] = []
    height = 100 / max(1, len(keys))
    for index, (key, parts) in enumerate(zip(keys, phases, strict=True)):
        for state, begins, ends in parts:
            x = _part(begins, since, until)
            text = f"{key.alg} {key.kid[:8]}… {state.value}: {moment(begins)} to {moment(ends)}"
            width = max(0.4, _part(ends, since, until) - x)
            y = index * height + height * 0.45
            boxes.append(Box(x, y, width, height * 0.4, state.value, text))
        rows.append(f"{key.alg} {key.kid[:8]}… {key.state.value}")
    boxes.append(Box(_part(now, since, until), 0, 0.2, 100, "now", f"Now: {moment(now)}"))
    signing = [key for key in keys if key.state is KeyState.ACTIVE]
    return Plot(
        id="key-lines",
        title="Life of the keys",
        says=f"{_count(len(keys), 'key')}, of which {len(signing)} in use. What lies ahead is what"
        " the settings foresee.",
        unit="",
        x_ticks=_x_ticks(since, until, _tick_of(until - since)),
        y_ticks=(),
        boxes=tuple(boxes),
        rows=tuple(rows),
        legend=(
            ("pending", "Pending: published, does not sign yet"),
            ("active", "Active: signs"),
            ("retiring", "Retiring: verifies what it signed"),
            ("now", "Now"),
        ),
        table=Table(
            ("Key", "State", "From (UTC)", "To (UTC)"),
            tuple(
                (f"{key.alg} {key.kid}", state.value, moment(begins), moment(ends))
                for key, parts in zip(keys, phases, strict=True)
                for state, begins, ends in parts
            ),
        ),
    )


def phases_of(
    key: Key, policy: RotationPolicy, due: float, now: float
) -> list[tuple[KeyState, float, float]]:
    """The states of a key with their beginnings and ends; those ahead are foreseen.

    `due` is when the key before it makes room.
    """
    foreseen = max(float(key.created + policy.lead), due)
    activated = foreseen if key.activated is None else float(key.activated)
    demoted = key.demoted or max(activated + policy.period(key.alg), now)
    gone = key.gone_at or demoted + policy.keep(key.alg)
    phases = [
        (KeyState.PENDING, float(key.created), float(activated)),
        (KeyState.ACTIVE, float(activated), float(demoted)),
        (KeyState.RETIRING, float(demoted), float(gone)),
    ]
    return [phase for phase in phases if phase[2] > phase[1]]


def _tick_of(length: float) -> int:
    """Between two words on an axis of so many seconds: about five of them."""
    steps = (60, 300, 900, 3600, 6 * 3600, 86_400, 7 * 86_400, 14 * 86_400, 30 * 86_400)
    return next((step for step in steps if length / step <= 6), 90 * 86_400)


# --- revocation latency --------------------------------------------------------------------------

LIVE_LENGTH = 300
"""Seconds that the live plot shows."""
_SHORTEST, _LONGEST = 0.001, 10.0
_MARKS = (0.001, 0.01, 0.1, 1.0, 10.0)


def latencies(number: int, name: str, noted: Sequence[Noted], now: float) -> Plot:
    """For one gateway: each bar reaches from what half took to what all took."""
    since = now - LIVE_LENGTH
    found: list[tuple[Noted, Latency]] = []
    before: Reading | None = None
    for each in noted:
        if each.reading is None:
            continue
        between = None if before is None else latency_between(before, each.reading)
        before = each.reading
        if between is not None and each.at >= since:
            found.append((each, between))
    width = 1.0
    boxes: list[Box] = []
    for each, took in found:
        high, low = _height(took.all), _height(took.half)
        says = (
            f"{moment(each.at)}: {_count(took.count, 'revocation')}, half within"
            f" {latency(took.half)}, all within {latency(took.all)}"
        )
        x = min(_part(each.at, since, now), 100 - width)
        boxes.append(Box(x, high, width, max(2.5, low - high), "took", says))
    total = sum(took.count for _, took in found)
    says = "No revocation in the last five minutes."
    if found:
        slowest = max((took.all for _, took in found), key=_height_of_slowest)
        says = f"{_count(total, 'revocation')} in five minutes, all within {latency(slowest)}."
    return Plot(
        id=f"latency-{number}",
        title=f"Revocation latency at {name}",
        says=says,
        unit="from the revocation to this replica",
        x_ticks=_x_ticks(since, now, 60),
        y_ticks=tuple(Tick(_height(mark), latency(mark)) for mark in _MARKS),
        boxes=tuple(boxes),
        legend=(("took", "From what half took to what all took"),),
        empty="" if found else "No revocation in the last five minutes.",
        table=Table(
            ("Time (UTC)", "Revocations", "Half within", "All within"),
            tuple(
                (moment(each.at), str(took.count), latency(took.half), latency(took.all))
                for each, took in found
            ),
        ),
    )


def _height(seconds: float | None) -> float:
    """On an axis of tenfold steps, the longest at the top."""
    bounded = min(max(_LONGEST if seconds is None else seconds, _SHORTEST), _LONGEST)
    whole = math.log10(_LONGEST / _SHORTEST)
    return round(100 - 100 * math.log10(bounded / _SHORTEST) / whole, 3)


def _height_of_slowest(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds
