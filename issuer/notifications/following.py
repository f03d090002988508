"""Follows the audit log, and writes down who is to be told of what."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..audit.consumer import Recorded
from ..audit.event import Event, EventKind
from ..crash_points import CrashPoint, reach
from .delivery import Route
from .queue import DeliveryQueue


class NotificationConsumer:
    """Implements `Consumer`. An event that is seen again makes nothing twice."""

    def __init__(
        self,
        queue: DeliveryQueue,
        routes: Sequence[Route],
        *,
        wake: Callable[[], object],
        clock: Callable[[], float],
        max_age: float,
    ) -> None:
        """`wake` is called once something is due.

        Nobody is told of what is older than `max_age` seconds: where there was no receiver for a
        while, the log is followed from where it was left.
        """
        self._queue = queue
        self._routes = tuple(routes)
        self._wake = wake
        self._clock = clock
        self._max_age = max_age

    @property
    def name(self) -> str:
        return "notifications"

    def consume(self, batch: Sequence[Recorded]) -> None:
        """Raises `DatabaseUnavailable`."""
        since = self._clock() - self._max_age
        wanted = [
            each
            for recorded in batch
            if recorded.event.time >= since and _is_for_others(recorded.event)
            for route in self._routes
            for each in route.wanted(recorded.event)
        ]
        if wanted:
            self._queue.add(wanted)
            reach(CrashPoint.NOTIFICATIONS_QUEUED)
            self._wake()


def _is_for_others(event: Event) -> bool:
    """Whether anybody may be told: of an anomaly, if that is among its rule's responses."""
    responses = event.details.get("response")
    if event.kind is not EventKind.ANOMALY or not isinstance(responses, list):
        return True
    return "webhook" in responses
