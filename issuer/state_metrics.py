"""The state of stores and keys as metrics, looked up when Prometheus asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import sqlalchemy as sa
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keys import KeyRing
from revocation import Denylist, RevocationError

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
    ) -> None:
        self._engine = engine
        self._denylist = denylist
        self._ring = ring
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register is no reason to ask the stores."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """What Prometheus is told."""
        yield self._key_ages()
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
