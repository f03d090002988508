"""Sends what is due: a few attempts at each receiver at once, so that none holds up another."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from ..crash_points import CrashPoint, reach
from ..database import DatabaseUnavailable
from .delivery import Delivery, NotDelivered, Sender, channel_of
from .queue import BATCH, DeliveryQueue

log = structlog.get_logger("gatepass.issuer")

INTERVAL = 1.0
"""Seconds between two looks at the queue, for what other processes have put there."""
HOUSEKEEPING_INTERVAL = 30.0
REST = 5.0
"""Seconds for which a receiver that cannot be reached is left alone."""

Watch = Callable[[str, str], object]
"""Told of a channel and of what became of an attempt."""


@dataclass(frozen=True, slots=True)
class RetryRules:
    """When the next attempt is due. Seconds."""

    first: float
    longest: float

    def delay(self, attempts: int, chance: float) -> float:
        """After so many attempts: doubled each time, less up to a half by `chance` (0 to 1)."""
        whole = min(self.longest, self.first * (1 << min(attempts - 1, 32)))
        return whole * (1 - chance / 2)


class DeliveryWorker:
    """One thread that looks, and for each receiver that something is due for a few that send."""

    def __init__(
        self,
        queue: DeliveryQueue,
        senders: Mapping[str, Sender],
        rules: RetryRules,
        *,
        lease: float,
        concurrency: int,
        watch: Watch = lambda _channel, _outcome: None,
        interval: float = INTERVAL,
    ) -> None:
        """`senders` by target; `lease`: seconds that no attempt takes."""
        self._queue = queue
        self._senders = senders
        self._rules = rules
        self._lease = lease
        self._concurrency = concurrency
        self._watch = watch
        self._interval = interval
        self._lanes: dict[str, list[threading.Thread]] = {target: [] for target in senders}
        self._rests_until: dict[str, float] = {}
        self._tidied = -HOUSEKEEPING_INTERVAL
        self._stopping = threading.Event()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin in the background. Threads do not survive a fork: start in the worker."""
        self._stopping.clear()
        self._thread = threading.Thread(
            target=self._run, name="gatepass-notifications", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Begin no other attempt, and wait a while for those under way.

        What is cut off is tried again once its lease is over.
        """
        self._stopping.set()
        self._news.set()
        end = time.monotonic() + 10
        threads = [lane for lanes in self._lanes.values() for lane in lanes]
        if self._thread is not None:
            threads.insert(0, self._thread)
        for thread in threads:
            thread.join(timeout=max(0.0, end - time.monotonic()))
        self._thread = None

    def wake(self) -> None:
        """Something new is due."""
        self._news.set()

    def _run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            self._news.clear()
            try:
                self.look()
                failing = False
            except DatabaseUnavailable as error:
                if not failing:
                    log.warning("notifications_failing", error=str(error))
                failing = True
            except Exception:
                log.exception("notifications_failed")
            self._news.wait(self._interval)

    def look(self) -> None:
        """Open lanes to those that something is due for, and tidy up from time to time."""
        if time.monotonic() - self._tidied >= HOUSEKEEPING_INTERVAL:
            self.tidy()
        for target in self._queue.due():
            if target not in self._senders or self._rests(target):
                continue
            lanes = [lane for lane in self._lanes[target] if lane.is_alive()]
            while len(lanes) < self._concurrency:
                name = f"gatepass-notify-{len(lanes)}"
                lane = threading.Thread(target=self._lane, args=(target,), name=name, daemon=True)
                lane.start()
                lanes.append(lane)
            self._lanes[target] = lanes

    def tidy(self) -> None:
        """Give up what is too old, say so, and drop what was done long ago."""
        for target, count in self._queue.give_up_old():
            log.error("notifications_given_up", target=target, count=count, why="too_old")
            for _ in range(count):
                self._watch(channel_of(target), "given_up")
        if self._queue.prune() < BATCH:
            self._tidied = time.monotonic()

    def _rests(self, target: str) -> bool:
        return time.monotonic() < self._rests_until.get(target, 0.0)

    def _lane(self, target: str) -> None:
        try:
            self.work_off(target)
        except DatabaseUnavailable as error:
            log.warning("notifications_failing", error=str(error))
        except Exception:
            log.exception("notifications_failed", target=target)

    def work_off(self, target: str) -> None:
        """Send what is due for a target until nothing is, or it cannot be reached.

        Raises `DatabaseUnavailable`.
        """
        while not self._stopping.is_set() and not self._rests(target):
            delivery = self._queue.lease(target, self._lease)
            if delivery is None:
                return
            reach(CrashPoint.NOTIFICATION_LEASED)
            self._attempt(delivery)
            reach(CrashPoint.NOTIFICATION_NOTED)

    def _attempt(self, delivery: Delivery) -> None:
        try:
            self._senders[delivery.target].send(delivery)
        except NotDelivered as error:
            failure = error
        except Exception as error:
            # The type alone: a message may quote what was sent.
            failure = NotDelivered(type(error).__name__)
        else:
            reach(CrashPoint.NOTIFICATION_SENT)
            self._queue.delivered(delivery)
            self._watch(delivery.channel, "delivered")
            return
        about = {"target": delivery.target, "kind": delivery.kind, "key": delivery.key}
        if failure.permanent:
            log.error("notification_given_up", **about, why=failure.why)
            self._queue.give_up(delivery, failure.why)
            self._watch(delivery.channel, "given_up")
            return
        if failure.unreachable:
            self._rests_until[delivery.target] = time.monotonic() + REST
        again_in = self._rules.delay(delivery.attempts, secrets.randbelow(1000) / 1000)
        again_in = max(again_in, min(failure.retry_after, self._rules.longest))
        log.warning("notification_failed", **about, why=failure.why, attempts=delivery.attempts)
        self._queue.failed(delivery, failure.why, again_in=again_in)
        self._watch(delivery.channel, "failed")
