"""A replica as its metrics tell of it, and what it took between two looks."""

from __future__ import annotations

import pytest

from issuer.replica_reading import Latency, NotReached, Reading, latency_between, parse_metrics


def test_a_replica_without_a_copy_is_no_number() -> None:
    """`+Inf` of Prometheus is None here, which JSON can hold."""
    text = (
        "gatepass_replica_staleness_seconds +Inf\n"
        "gatepass_replica_in_step 0\ngatepass_replica_entries 0\n"
    )
    assert parse_metrics(text) == Reading(None, in_step=False, entries=0)


def test_of_several_processes_the_worst_counts() -> None:
    """The oldest copy, and whether all are in step; latencies add up."""
    lines = [
        *(f'gatepass_replica_staleness_seconds{{pid="{pid}"}} {pid}' for pid in (1, 3, 2)),
        *(f'gatepass_replica_in_step{{pid="{pid}"}} {pid % 2}' for pid in (1, 2)),
        'gatepass_replica_entries{pid="1"} 7',
        *(
            f'gatepass_revocation_latency_seconds_bucket{{pid="{pid}",le="{bound}"}} {count}'
            for pid in (1, 2)
            for bound, count in (("0.01", 1), ("+Inf", 2))
        ),
    ]
    assert parse_metrics("\n".join(lines) + "\n") == Reading(3, False, 7, ((0.01, 2), (None, 4)))


@pytest.mark.parametrize(
    "text", ["", "<html>", "gatepass_replica_entries 1\n", "gatepass_replica_entries nonsense\n"]
)
def test_other_texts_are_no_reading(text: str) -> None:
    """Whatever answers at a wrong address is not taken for a gateway."""
    with pytest.raises(NotReached):
        parse_metrics(text)


def test_latency_is_that_of_the_time_between_two_readings() -> None:
    """Half, and all, within the bounds of the histogram; none without a revocation."""

    def reading(*counts: int) -> Reading:
        bounds = (0.01, 0.1, None)
        return Reading(0, True, 0, tuple(zip(bounds, counts, strict=True)))

    assert latency_between(reading(5, 6, 6), reading(5, 6, 6)) is None
    assert latency_between(reading(5, 6, 6), reading(7, 9, 9)) == Latency(3, 0.01, 0.1)
    assert latency_between(reading(5, 6, 6), reading(5, 6, 8)) == Latency(2, None, None)
    # Fewer than before: it has been restarted.
    assert latency_between(reading(5, 6, 6), reading(1, 2, 2)) == Latency(2, 0.01, 0.1)
    assert latency_between(Reading(0, True, 0), Reading(0, True, 0)) is None
