"""The state of stores and keys as metrics, looked up when Prometheus asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import sqlalchemy as sa
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keys import KeyRing
from revocation import Denylist, RevocationError
from revocation.redis_condition import Condition, conditions

from .certificates import end_of
from .database import DatabaseUnavailable
from .database.engine import reading
from .database.tables import deliveries, journal

_ERRORS = (DatabaseUnavailable, RevocationError)


class StateMetrics(Collector):
    """Finds out what the stores hold; one that does not answer is told as down."""

    def __init__(
        self,
        engine: sa.Engine,
        denylist: Denylist,
        ring: Callable[[], KeyRing],
        clock: Callable[[], float],
        *,
        denylist_url: str = "memory://",
        certificate: Path | None = None,
    ) -> None:
        """`certificate` is the one that is served, if this issuer terminates TLS."""
        self._engine = engine
        self._denylist = denylist
        self._ring = ring
        self._clock = clock
        self._denylist_url = denylist_url
        self._certificate = certificate

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register is no reason to ask the stores."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """What Prometheus is told."""
        yield _version()
        yield self._key_ages()
        yield from self._certificate_end()
        up = GaugeMetricFamily("gatepass_store_up", "Whether a store answers.", labels=["store"])
        for store, look in (("database", self._journal), ("denylist", self._feed)):
            try:
                found = list(look())
            except _ERRORS:
                up.add_metric([store], 0)
            else:
                up.add_metric([store], 1)
                yield from found
        yield up

    def _key_ages(self) -> Metric:
        ages = GaugeMetricFamily(
            "gatepass_key_age_seconds",
            "Seconds since a key of the ring came into its present state.",
            labels=["kid", "alg", "state"],
        )
        now = self._clock()
        for key in self._ring().keys:
            since = max(at for at in (key.created, key.activated, key.demoted) if at is not None)
            ages.add_metric([key.kid, key.alg, key.state.value], max(0.0, now - since))
        return ages

    def _certificate_end(self) -> Iterator[Metric]:
        if self._certificate is None:
            return
        with suppress(OSError, ValueError):
            yield GaugeMetricFamily(
                "gatepass_tls_certificate_expires_timestamp_seconds",
                "When the certificate in the file that is served is over.",
                end_of(self._certificate.read_bytes()),
            )

    def _journal(self) -> Iterator[Metric]:
        in_force = GaugeMetricFamily(
            "gatepass_revocations_in_force",
            "Revocations that can still hit a token, by kind: the size of the denylist.",
            labels=["kind"],
        )
        undone = GaugeMetricFamily(
            "gatepass_revocations_undone", "Journalled revocations that the denylist lacks."
        )
        with reading(self._engine) as connection:
            kinds = connection.execute(
                sa.select(journal.c.kind, sa.func.count())
                .where(journal.c.expires > int(self._clock()))
                .group_by(journal.c.kind)
            )
            for kind, count in kinds:
                in_force.add_metric([kind], count)
            waiting = sa.select(sa.func.count()).where(sa.not_(journal.c.done))
            undone.add_metric([], connection.scalar(waiting) or 0)
            yield from self._deliveries(connection)
        yield in_force
        yield undone

    def _deliveries(self, connection: sa.Connection) -> Iterator[Metric]:
        """What receivers are still to be told."""
        waiting = GaugeMetricFamily(
            "gatepass_notifications_waiting",
            "Notifications that a receiver has not taken yet.",
            labels=["target"],
        )
        oldest = GaugeMetricFamily(
            "gatepass_notifications_oldest_seconds",
            "Since when the oldest of them waits.",
            labels=["target"],
        )
        targets = connection.execute(
            sa.select(deliveries.c.target, sa.func.count(), sa.func.min(deliveries.c.created))
            .where(deliveries.c.state == sa.literal_column("'waiting'"))
            .group_by(deliveries.c.target)
        )
        for target, count, created in targets:
            waiting.add_metric([target], count)
            oldest.add_metric([target], max(0.0, self._clock() - created / 1000))
        yield waiting
        yield oldest

    def _feed(self) -> Iterator[Metric]:
        state = self._denylist.state()
        yield GaugeMetricFamily(
            "gatepass_denylist_ready",
            "Whether the denylist vouches for itself.",
            float(state.ready),
        )
        yield GaugeMetricFamily(
            "gatepass_denylist_position", "The last item of the feed.", float(state.position.seq)
        )
        if not self._denylist_url.startswith("memory:"):
            yield from _servers(conditions(self._denylist_url))


def _version() -> Metric:
    info = GaugeMetricFamily("gatepass_build_info", "Always 1.", labels=["version"])
    info.add_metric([metadata.version("gatepass")], 1)
    return info


def _servers(found: Sequence[Condition]) -> Iterator[Metric]:
    """The denylist's Redis; of a Cluster's masters the sum, and the longest lag."""
    online = [link for one in found for link in one.replicas if link.online]
    yield GaugeMetricFamily(
        "gatepass_redis_replicas", "Read replicas of the denylist's Redis.", len(online)
    )
    yield GaugeMetricFamily(
        "gatepass_redis_replica_lag_seconds",
        "Since the denylist's Redis last heard of the replica that was silent for longest.",
        max((link.lag for link in online), default=0.0),
    )
    yield GaugeMetricFamily(
        "gatepass_redis_memory_bytes",
        "What the denylist's Redis holds in memory.",
        sum(one.memory for one in found),
    )
    yield GaugeMetricFamily(
        "gatepass_redis_memory_limit_bytes",
        "Its maxmemory, past which it refuses revocations; 0 for none.",
        sum(one.memory_limit for one in found),
    )
