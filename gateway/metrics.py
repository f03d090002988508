"""What a verifier or an agent knows of itself, for Prometheus: collectors for a registry.

Everything is looked up when it is asked for; a check pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from revocation.latency import Latencies

from .counts import ALLOWED, ANSWERS, Counts
from .verifier import Verifier

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
"""Of the text format of Prometheus."""


class WatchedCopy(Protocol):
    """Of the denylist: a `Replica`, or what an agent keeps elsewhere."""

    @property
    def latencies(self) -> Latencies | None: ...

    def staleness(self) -> float: ...

    def __len__(self) -> int: ...


class WatchedKeys(Protocol):
    """The issuer's."""

    @property
    def ready(self) -> bool: ...


class Watched(Protocol):
    """Who keeps a copy in step: a `Verifier`, or an agent, which may have no keys."""

    @property
    def replica(self) -> WatchedCopy: ...

    @property
    def keys(self) -> WatchedKeys | None: ...

    @property
    def in_step(self) -> bool: ...


class AgentMetrics(Collector):
    """What an agent tells, whose gateway itself counts what it has decided."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def describe(self) -> Iterable[Metric]:
        """As for `VerifierMetrics`."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Latency, and what `_replica_and_keys` tells."""
        yield from _replica_and_keys(self._watched)
        yield from _latencies(self._watched)


class VerifierMetrics(Collector):
    """`prometheus_client.REGISTRY.register(VerifierMetrics(verifier))`, once for each process."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known when they are asked for."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Verifications, latency, and what `_replica_and_keys` tells."""
        yield from _replica_and_keys(self._verifier)
        verifications = _verifications()
        verifications.add_metric([ALLOWED], self._verifier.passed)
        for code, number in list(self._verifier.refusals.items()):
            verifications.add_metric([code], number)
        yield verifications
        yield from _latencies(self._verifier)


class ServiceMetrics(Collector):
    """What all processes of a forward-auth service know together."""

    def __init__(self, verifier: Verifier, counts: Counts) -> None:
        self._verifier = verifier
        self._counts = counts

    def describe(self) -> Iterable[Metric]:
        """As for `VerifierMetrics`."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Everybody's counts; replica and keys as this process has them."""
        yield from _replica_and_keys(self._verifier)
        self._counts.publish(self._verifier.replica.latencies)
        totals = self._counts.totals()
        verifications = _verifications()
        for outcome, number in totals.outcomes():
            verifications.add_metric([outcome], number)
        yield verifications
        durations = HistogramMetricFamily(
            "gatepass_verification_duration_seconds",
            "From a request's head to its answer, by what was answered.",
            labels=["answer"],
        )
        for answer in ANSWERS:
            buckets, seconds = totals.durations(answer)
            durations.add_metric([answer], _worded(buckets), sum_value=seconds)
        yield durations
        yield _latency(*totals.latencies())


def text_of(collector: Collector) -> bytes:
    """All that it tells, in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(collector)
    return bytes(generate_latest(registry))


def _replica_and_keys(watched: Watched) -> Iterator[Metric]:
    """Staleness and size of the replica, and whether it and the keys may be gone by."""
    replica, keys = watched.replica, watched.keys
    yield GaugeMetricFamily(
        "gatepass_replica_staleness_seconds",
        "Seconds by which the replica may lag behind, at most; +Inf where nobody knows.",
        replica.staleness(),
    )
    yield GaugeMetricFamily(
        "gatepass_replica_in_step",
        "Whether the replica is young enough to be gone by.",
        float(watched.in_step),
    )
    yield GaugeMetricFamily(
        "gatepass_replica_entries", "Revocations that the replica holds.", float(len(replica))
    )
    if keys is not None:
        yield GaugeMetricFamily(
            "gatepass_keys_ready",
            "Whether there is a copy of the issuer's keys that may be trusted.",
            float(keys.ready),
        )


def _verifications() -> CounterMetricFamily:
    return CounterMetricFamily(
        "gatepass_verifications",
        "Verified requests: allowed, or the code of why not.",
        labels=["outcome"],
    )


def _latencies(watched: Watched) -> Iterator[Metric]:
    """Nothing where another process follows."""
    latencies = watched.replica.latencies
    if latencies is not None:
        yield _latency(latencies.buckets(), latencies.total)


def _latency(buckets: Iterable[tuple[float, int]], total: float) -> Metric:
    return HistogramMetricFamily(
        "gatepass_revocation_latency_seconds",
        "From a revocation at the denylist's server to this replica, by both clocks.",
        buckets=_worded(buckets),
        sum_value=total,
    )


def _worded(buckets: Iterable[tuple[float, int]]) -> list[tuple[str, float]]:
    return [
        ("+Inf" if bound == float("inf") else str(bound), float(count)) for bound, count in buckets
    ]
