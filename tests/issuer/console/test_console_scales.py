"""Numbers and times on the axes of plots."""

from __future__ import annotations

import pytest

from issuer.console import scales
from issuer.console.plots import denylist_size
from issuer.console.scales import axis, clock_time, latency, span, ticks, window_of

NOON = 1_795_867_200
"""28 November 2026, 12:00 UTC."""


@pytest.mark.parametrize("most", [0, 1, 2, 3, 7, 10, 11, 99, 101, 4999, 123_456, 10**9])
def test_an_axis_ends_above_what_it_shows(most: int) -> None:
    """In whole steps from zero, few enough to read, and not far above."""
    numbers = axis(most)
    assert numbers[0] == 0
    assert 2 <= len(numbers) <= 6
    assert most <= numbers[-1] <= max(2 * most, 1)
    assert all(number == int(number) for number in numbers)


def test_words_on_the_axis_of_time_are_round_and_have_room() -> None:
    """None so near to an edge that it would be cut off."""
    hour = window_of("1h")
    words = [clock_time(at) for at in ticks(NOON - hour.length, NOON, hour.tick)]
    assert words == ["11:15", "11:30", "11:45"]
    day = window_of("24h")
    found = ticks(NOON + 7200 - day.length, NOON + 7200, day.tick)
    assert [clock_time(at) for at in found] == ["18:00", "28 Nov", "06:00", "12:00"]


def test_times_are_worded_shortly() -> None:
    """In UTC, and spans in their largest unit."""
    assert scales.moment(NOON + 5) == "28 Nov 2026, 12:00:05"
    assert scales.iso(NOON) == "2026-11-28T12:00:00Z"
    assert [span(each) for each in (-1, 0, 1, 59, 60, 7199, 7200, 200_000)] == [
        "0 seconds", "0 seconds", "1 second", "59 seconds", "1 minute", "1 hour", "2 hours",
        "2 days",
    ]  # fmt: skip
    assert [latency(each) for each in (0.0025, 0.5, 1.0, None)] == [
        "2.5 ms", "500 ms", "1 s", "more than 5 s",
    ]  # fmt: skip


def test_a_line_is_broken_where_nobody_looked() -> None:
    """An outage of the issuers is a gap, and no straight line over what nobody knows."""
    sizes = [(NOON - 3000, 5), (NOON - 2940, 7), (NOON - 600, 2), (NOON - 540, 2)]
    plot = denylist_size(sizes, window_of("1h"), NOON, 3)
    assert plot.line.count("M") == 3
    assert plot.says.startswith("3 revocations in force now; at most 7")
    assert ("28 Nov 2026, 11:10:00", "7") in plot.table.rows
