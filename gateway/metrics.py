"""What a verifier knows of itself, for Prometheus: a collector for the application's registry.

Everything is looked up when it is asked for; a check pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from .verifier import Verifier


class VerifierMetrics(Collector):
    """`prometheus_client.REGISTRY.register(VerifierMetrics(verifier))`, once for each process."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known when they are asked for."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Staleness and size of the replica, whether it and the keys may be gone by, latency."""
        replica = self._verifier.replica
        yield GaugeMetricFamily(
            "gatepass_replica_staleness_seconds",
            "Seconds by which the replica may lag behind, at most; +Inf where nobody knows.",
            replica.staleness(),
        )
        yield GaugeMetricFamily(
            "gatepass_replica_in_step",
            "Whether the replica is young enough to be gone by.",
            float(self._verifier.in_step),
        )
        yield GaugeMetricFamily(
            "gatepass_replica_entries", "Revocations that the replica holds.", float(len(replica))
        )
        yield GaugeMetricFamily(
            "gatepass_keys_ready",
            "Whether there is a copy of the issuer's keys that may be trusted.",
            float(self._verifier.keys.ready),
        )
        latencies = replica.latencies
        if latencies is not None:
            buckets = [
                ("+Inf" if bound == float("inf") else str(bound), float(count))
                for bound, count in latencies.buckets()
            ]
            yield HistogramMetricFamily(
                "gatepass_revocation_latency_seconds",
                "From a revocation at the denylist's server to this replica, by both clocks.",
                buckets=buckets,
                sum_value=latencies.total,
            )
