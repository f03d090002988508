"""How late revocations reach a copy is counted in buckets that only ever grow."""

from __future__ import annotations

import pytest

from revocation.latency import BOUNDS, Latencies


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_belongs_to_its_bucket(bound: float) -> None:
    """Prometheus' `le` is "less or equal"."""
    latencies = Latencies()
    latencies.note(bound)
    latencies.note(bound + 1e-9)
    found = dict(latencies.buckets())
    assert found[bound] == 1
    assert found[float("inf")] == 2


def test_a_clock_that_is_behind_makes_no_negative_time() -> None:
    """The sum of a histogram may not fall."""
    latencies = Latencies()
    latencies.note(-3.0)
    assert latencies.total == 0
    assert dict(latencies.buckets())[BOUNDS[0]] == 1
