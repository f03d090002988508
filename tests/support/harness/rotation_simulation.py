"""Browsers, thieves and a network that delays and loses, by events on a virtual clock."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count

from harness.millisecond_clock import MillisecondClock

from issuer.families import Current, FamilyStore, NewFamily, RetriedLate, Rotated, RotationRules

OpenStore = Callable[[RotationRules, MillisecondClock], FamilyStore]

RULES = RotationRules()
ONE_WAY_DELAY = 3.0
"""Seconds at most: less than half of the reuse interval."""
LOST = 0.1
"""The part of the answers that never arrive."""
TABS = 12


class Simulation:
    """One session of one browser, whose tabs share one cookie, and its network.

    The cookie is what the last answer to arrive says, even if an earlier one was newer. A tab
    without an answer asks again when the longest round trip is over.
    """

    def __init__(self, open_store: OpenStore, seed: int) -> None:
        self.random = random.Random(seed)
        self.clock = MillisecondClock()
        self.store = open_store(RULES, self.clock)
        self.cookie = 1
        self.logged_out = False
        self.late_retries = 0
        self.thief_got: set[int] = set()
        self._numbers = count()
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self.store.create(
            NewFamily(
                sub="ann",
                sid="one",
                client_id="web",
                credential_version=1,
                auth_time=self.clock.ms // 1000,
                amr=("pwd",),
                scope="",
                idle=None,
                absolute_end=self.clock.ms // 1000 + 30 * 86_400,
            )
        )

    # --- events ------------------------------------------------------------------------------

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        at = self.clock.ms + round(seconds * 1000)
        heapq.heappush(self._events, (at, next(self._numbers), event))

    def run(self) -> None:
        """Until nothing is left to happen, or somebody is logged out."""
        while self._events and not self.logged_out:
            self.clock.ms, _, event = heapq.heappop(self._events)
            event()

    def delay(self) -> float:
        return self.random.uniform(0, ONE_WAY_DELAY)

    # --- the browser -------------------------------------------------------------------------

    def refresh(self, *, retries: bool = True) -> None:
        """A tab sends what the cookie says now."""
        gen = self.cookie
        self.after(self.delay(), lambda: self.arrives(gen, retries=retries))

    def arrives(self, gen: int, *, retries: bool) -> None:
        outcome = self.store.rotate("ann", "one", gen, credential_version=1)
        if not isinstance(outcome, Current):
            self.logged_out = True
            return
        self.late_retries += isinstance(outcome, RetriedLate)
        if isinstance(outcome, Rotated):
            self.after_rotation(gen)
        if self.random.random() >= LOST:
            given = outcome.family.gen
            self.after(self.delay(), lambda: self.answered(given))
        elif retries:
            self.after(2 * ONE_WAY_DELAY, self.refresh)

    def answered(self, gen: int) -> None:
        self.cookie = gen

    def after_rotation(self, gen: int) -> None:
        """The store has given a generation a successor."""


class RestoredTabs(Simulation):
    """A browser that is closed during a refresh and comes back with all its tabs, three times.

    Three, since a client that loses the first answer of four generations in a row, each time for
    longer than the reuse interval, cannot be told from a thief (rule 3).
    """

    def __init__(self, open_store: OpenStore, seed: int, *, spread: float = 2.0) -> None:
        """The tabs start within `spread` seconds of each other."""
        super().__init__(open_store, seed)
        at = 0.0
        for _ in range(3):
            at += self.random.uniform(60, 3600)
            self.after(at, lambda: self.refresh(retries=False))
            at += self.random.uniform(20, 3600)
            for _ in range(TABS):
                self.after(at + self.random.uniform(0, spread), self.refresh)


class OrderedTabs(RestoredTabs):
    """Restored tabs of a client that refreshes in turn, so that no older answer comes last."""

    def answered(self, gen: int) -> None:
        self.cookie = max(self.cookie, gen)


class LockstepThief(Simulation):
    """A browser that refreshes every few minutes, and a thief of its token, one generation behind.

    He knows when the store rotates, and presents the parent at some moment between a minute later,
    when the owner no longer asks for lost answers, and the owner's next refresh; the store's
    answers to him are never lost.
    """

    PERIOD = 270.0

    def __init__(self, open_store: OpenStore, seed: int) -> None:
        super().__init__(open_store, seed)
        self.stolen_from = self.random.randrange(1, 4)
        for number in range(1, 13):
            self.after(number * self.PERIOD + self.random.uniform(0, 30), self.refresh)

    def after_rotation(self, gen: int) -> None:
        if gen >= self.stolen_from:
            # Any later, and the owner has used the successor, which gives the thief away at once.
            wait = self.random.uniform(60, self.PERIOD - 2 * ONE_WAY_DELAY - 30)
            self.after(wait, lambda: self.thief_presents(gen))

    def thief_presents(self, gen: int) -> None:
        outcome = self.store.rotate("ann", "one", gen, credential_version=1)
        if isinstance(outcome, Current):
            self.thief_got.add(outcome.family.gen)
        else:
            self.logged_out = True
