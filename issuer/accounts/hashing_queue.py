"""Who may hash next: a bounded queue that is fair over the networks that ask.

Hashing a password is dear by intent, so whoever can ask for it without an account can keep the
processors busy (OWASP ASVS 5.0, 2.4.1). A flood from one network fills its own line; others wait
for one turn of it, whatever its length.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..networks import network_of
from .account import HashingBusy

MEMORY = 10.0
"""Seconds after which a turn that was had counts half."""
MOST_REMEMBERED = 4096
LONGEST_RETRY = 30
_FORGOTTEN = 0.5
_SMOOTHING = 0.2


class _Waiter:
    __slots__ = ("admitted", "called")

    def __init__(self) -> None:
        self.called = threading.Event()
        self.admitted = False


class FairQueue:
    """At most `running` turns at once, at most `waiting` that wait for one.

    Turns go round-robin over networks. Where the queue is full, a newcomer takes the place of the
    last comer of the network that has more in the queue or, with as many, has had more turns of
    late; so that networks that are seldom seen get in while others flood.
    """

    def __init__(
        self,
        *,
        running: int,
        waiting: int,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`patience`: seconds after which a waiter is told to come back."""
        self._running = running
        self._waiting = waiting
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._free = running
        # In the order of their turns: whose line is first is next, and goes to the end.
        self._lines: dict[str, deque[_Waiter]] = {}
        self._length = 0
        self._turns: dict[str, tuple[float, float]] = {}
        """For each network: turns of late, and when they were counted."""
        self._typical = 0.0
        """Seconds that a turn takes."""

    @contextmanager
    def turn(self, source: str = "") -> Iterator[None]:
        """Hold a turn; `source` is the client's address. Raises `HashingBusy`."""
        self._enter(network_of(source))
        began = self._clock()
        try:
            yield
        finally:
            self._leave(self._clock() - began)

    def _enter(self, network: str) -> None:
        waiter = self._arrive(network)
        waiter.called.wait(self._patience)
        self._settle(network, waiter)

    def _arrive(self, network: str) -> _Waiter:
        """Somebody who has a turn, or waits for one. Raises `HashingBusy`."""
        with self._lock:
            waiter = _Waiter()
            if self._free:
                # Then nobody waits: a turn that ends goes to whoever does.
                self._free -= 1
                self._admit(network, waiter)
                return waiter
            if self._length >= self._waiting:
                self._make_room(network)
            self._lines.setdefault(network, deque()).append(waiter)
            self._length += 1
            return waiter

    def _settle(self, network: str, waiter: _Waiter) -> None:
        """Raise `HashingBusy` unless the wait ended with a turn."""
        with self._lock:
            if waiter.admitted:
                return
            if not waiter.called.is_set():
                self._remove(network, waiter)
            raise self._busy()

    def _leave(self, took: float) -> None:
        with self._lock:
            self._typical += _SMOOTHING * (took - self._typical)
            if not self._length:
                self._free += 1
                return
            network = next(iter(self._lines))
            line = self._lines.pop(network)
            waiter = line.popleft()
            if line:
                self._lines[network] = line
            self._length -= 1
            self._admit(network, waiter)

    def _admit(self, network: str, waiter: _Waiter) -> None:
        self._count(network)
        waiter.admitted = True
        waiter.called.set()

    def _make_room(self, network: str) -> None:
        """Send the last comer of a network that has more away, or raise `HashingBusy`."""
        now = self._clock()

        def claim(of: str, waiting: int) -> tuple[int, float]:
            return waiting, self._turns_of(of, now)

        own = claim(network, len(self._lines.get(network, ())) + 1)
        most, greediest = max(
            ((claim(of, len(line)), of) for of, line in self._lines.items()),
            default=(own, network),
        )
        if most <= own:
            raise self._busy()
        waiter = self._lines[greediest][-1]
        self._remove(greediest, waiter)
        waiter.called.set()

    def _remove(self, network: str, waiter: _Waiter) -> None:
        line = self._lines[network]
        line.remove(waiter)
        self._length -= 1
        if not line:
            del self._lines[network]

    def _turns_of(self, network: str, now: float) -> float:
        turns, counted = self._turns.get(network, (0.0, now))
        return turns * math.exp2((counted - now) / MEMORY)

    def _count(self, network: str) -> None:
        now = self._clock()
        self._turns[network] = self._turns_of(network, now) + 1, now
        if len(self._turns) > MOST_REMEMBERED:
            kept = {of: seen for of, seen in self._turns.items() if self._counts(of, now)}
            # With so many at once nobody stands out; the order of turns is fair without it.
            self._turns = kept if len(kept) < MOST_REMEMBERED else {}

    def _counts(self, network: str, now: float) -> bool:
        return self._turns_of(network, now) > _FORGOTTEN

    def _busy(self) -> HashingBusy:
        """The refusal, with the time that those who are here take."""
        ahead = (self._running + self._length) * self._typical / self._running
        return HashingBusy(
            "too many passwords are being checked; try again in a moment",
            min(LONGEST_RETRY, max(1, math.ceil(ahead))),
        )
