"""Shared Signals for receivers that fetch them: RFC 8936."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .delivery import Delivery, NotDelivered, channel_of
from .queue import DeliveryQueue
from .signals import SetMaker
from .worker import Watch

MOST_SETS = 100
"""In one answer, however many are asked for."""
MOST_ACKNOWLEDGED = MOST_SETS
MOST_REFUSED = 50
WORD = r"^[A-Za-z0-9._:-]{1,64}$"
"""What a `jti` of ours, and an error's code, is made of."""
LOOK = 1.0
"""Seconds between two looks of a poll that waits, for what other processes have put there."""


@dataclass(frozen=True, slots=True)
class Poller:
    """A receiver that polls."""

    target: str
    maker: SetMaker
    secret_sha256: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Poll:
    """What a receiver asks (section 2.2)."""

    most: int = MOST_SETS
    at_once: bool = False
    acknowledged: Sequence[str] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    """By `jti`, the error's code."""


@dataclass(frozen=True, slots=True)
class Polled:
    """What it gets (section 2.3): tokens by `jti`."""

    sets: Mapping[str, str]
    more: bool


class Polls:
    """Answers polls. One of each receiver may wait in a process; another is answered at once."""

    def __init__(
        self, queue: DeliveryQueue, pollers: Mapping[str, Poller], *, wait: float, watch: Watch
    ) -> None:
        """`wait`: seconds for which a poll without news is held."""
        self._queue = queue
        self._pollers = dict(pollers)
        self._wait = wait
        self._watch = watch
        self._news = threading.Condition()
        self._waiting: set[str] = set()
        self._ending = False

    def authenticate(self, name: str, secret: str) -> bool:
        """Whether this is the receiver's secret; takes the same time for every name."""
        poller = self._pollers.get(name)
        expected = "" if poller is None else poller.secret_sha256
        given = hashlib.sha256(secret.encode()).hexdigest()
        return hmac.compare_digest(given, expected or "0" * 64) and bool(expected)

    def answer(self, name: str, poll: Poll) -> Polled:
        """Take what is acknowledged off the stream, and give what is on it.

        Raises `DatabaseUnavailable`, `NotDelivered`.
        """
        poller = self._pollers[name]
        self._acknowledge(poller, poll)
        if poll.most == 0:
            return Polled({}, more=bool(self._queue.oldest(poller.target, 1)))
        found = self._look(poller, poll.most)
        if found.sets or poll.at_once or not self._may_wait(name):
            return found
        try:
            return self._await(poller, poll.most)
        finally:
            with self._news:
                self._waiting.discard(name)

    def _acknowledge(self, poller: Poller, poll: Poll) -> None:
        if not poll.acknowledged and not poll.refused:
            return
        refused = {key: code for key, code in poll.refused.items() if key not in poll.acknowledged}
        taken = self._queue.acknowledge(poller.target, poll.acknowledged, refused)
        channel = channel_of(poller.target)
        for number in range(taken):
            self._watch(channel, "given_up" if number < len(refused) else "delivered")

    def _may_wait(self, name: str) -> bool:
        with self._news:
            if name in self._waiting or self._ending:
                return False
            self._waiting.add(name)
            return True

    def _await(self, poller: Poller, most: int) -> Polled:
        end = time.monotonic() + self._wait
        while True:
            left = end - time.monotonic()
            with self._news:
                if left > 0 and not self._ending:
                    self._news.wait(min(LOOK, left))
                over = self._ending or left <= 0
            found = self._look(poller, most)
            if found.sets or over:
                return found

    def _look(self, poller: Poller, most: int) -> Polled:
        limit = min(most, MOST_SETS)
        found = self._queue.oldest(poller.target, limit + 1)
        sets = {each.key: poller.maker.make(each) for each in found[:limit] if _readable(each)}
        return Polled(sets, more=len(found) > limit)

    def wake(self) -> None:
        """Something new is on a stream."""
        with self._news:
            self._news.notify_all()

    def end(self) -> None:
        """Answer those that wait, and let nobody wait any more."""
        with self._news:
            self._ending = True
            self._news.notify_all()


def _readable(delivery: Delivery) -> bool:
    """False for what is left to an issuer of a newer version."""
    try:
        return delivery.event is not None
    except NotDelivered:
        return False
