"""Lets a session happen, request by request, under the issuer's own rules of rotation."""

from __future__ import annotations

import heapq
import random
from itertools import count

from issuer.audit import Event, EventKind, Outcome
from issuer.families import NewFamily, RotationRules
from issuer.families.family import (
    Current,
    RefreshReuseDetected,
    Repeated,
    Resent,
    RetriedLate,
    Rotated,
)
from issuer.families.memory_families import MemoryFamilies

from .plans import Client, Plan, Tab, Timed

ABSOLUTE = 43_200
RULES = RotationRules()
TRIES = 3
"""Requests in a row before a client waits for its next turn."""
_WHY = {
    Rotated: "rotated",
    Repeated: "repeated",
    Resent: "resent",
    RetriedLate: "retried_late",
}


class Happening:
    """One session from its login to its end."""

    def __init__(self, plan: Plan, rng: random.Random) -> None:
        self.events: list[Timed] = []
        self._plan = plan
        self._rng = rng
        self._now = plan.start
        self._families = MemoryFamilies(RULES, clock=lambda: self._now)
        self._queue: list[tuple[float, int, str, Client, Tab, int]] = []
        self._order = count()
        self._over = False

    def run(self) -> list[Timed]:
        """Its events, in order."""
        plan = self._plan
        self._log_in()
        for client in plan.clients:
            for tab in client.tabs:
                self._push(tab.first, "send", client, tab, 0)
            if client.steals_at is not None:
                self._push(client.steals_at, "steal", client, Tab(0, 0, 0), 0)
        while self._queue and not self._over:
            self._now, _, what, client, tab, number = heapq.heappop(self._queue)
            if what == "send":
                self._send(client, tab, number)
            elif what == "steal":
                client.jar.gen = plan.clients[0].jar.gen
            elif what == "answer":
                client.jar.gen = max(client.jar.gen, number)
            else:
                self._arrive(client, tab, number, tries=int(what))
        return self.events

    def _push(self, when: float, what: str, client: Client, tab: Tab, number: int) -> None:
        heapq.heappush(self._queue, (when, next(self._order), what, client, tab, number))

    def _tell(self, kind: EventKind, client: Client, why: str, outcome: Outcome, at: float) -> None:
        plan, rng = self._plan, self._rng
        number = next(self._order)
        event = Event(
            kind=kind,
            time=at,
            outcome=outcome,
            why=why,
            sub=plan.sub,
            sid=None if outcome is Outcome.FAILURE and kind is EventKind.LOGIN else plan.sid,
            client_id="web",
            address=client.addresses.at(at, rng),
            user_agent=client.agents.at(at, rng),
            id=f"{plan.sid}.{number}",
        )
        self.events.append((at, number, event))

    def _log_in(self) -> None:
        plan = self._plan
        client, at = plan.clients[0], plan.start
        for failure in range(plan.failures, 0, -1):
            self._tell(
                EventKind.LOGIN, client, "wrong_password", Outcome.FAILURE, at - 12.0 * failure
            )
        self._tell(EventKind.LOGIN, client, "login", Outcome.SUCCESS, at)
        self._tell(EventKind.SESSION_STARTED, client, "login", Outcome.SUCCESS, at)
        self._families.create(
            NewFamily(
                sub=plan.sub,
                sid=plan.sid,
                client_id="web",
                credential_version=1,
                auth_time=int(at),
                amr=("pwd",),
                scope="",
                idle=None,
                absolute_end=int(at) + ABSOLUTE,
            )
        )

    def _send(self, client: Client, tab: Tab, tries: int) -> None:
        if self._now > tab.until:
            return
        for asleep, awake in client.asleep:
            if asleep <= self._now < awake:
                # Whoever wakes up asks at once.
                self._push(awake + self._rng.random(), "send", client, tab, 0)
                return
        way = client.delay * self._rng.lognormvariate(0, 0.6)
        self._push(self._now + way, str(tries), client, tab, client.jar.gen)

    def _arrive(self, client: Client, tab: Tab, gen: int, *, tries: int) -> None:
        plan, rng = self._plan, self._rng
        outcome = self._families.rotate(plan.sub, plan.sid, gen, credential_version=1)
        if isinstance(outcome, Current):
            self._tell(
                EventKind.SESSION_REFRESHED,
                client,
                _WHY[type(outcome)],
                Outcome.SUCCESS,
                self._now,
            )
            if isinstance(outcome, Rotated):
                self._draw_followers(client, tab)
        else:
            if isinstance(outcome, RefreshReuseDetected):
                self._tell(EventKind.REUSE_DETECTED, client, "reuse", Outcome.FAILURE, self._now)
            self._over = True
            return
        if rng.random() < client.loss:
            if tries < TRIES:
                # A browser gives up after some seconds, and the page tries again.
                self._push(self._now + rng.uniform(3, 12), "send", client, tab, tries + 1)
                return
        else:
            back = client.delay * rng.lognormvariate(0, 0.6)
            self._push(self._now + back, "answer", client, tab, outcome.family.gen)
        if client.follows is None:
            wait = rng.expovariate(1 / tab.period) if tab.irregular else tab.period
            self._push(
                self._now + max(wait + rng.uniform(-tab.jitter, tab.jitter), 0.5),
                "send",
                client,
                tab,
                0,
            )

    def _draw_followers(self, leader: Client, tab: Tab) -> None:
        """Thieves in lockstep come some seconds after whoever rotated."""
        for client in self._plan.clients:
            if client.follows is not None and client is not leader and client.steals_at is not None:
                low, high = client.follows
                if self._now >= client.steals_at:
                    until = Tab(0, 0, tab.until + 60)
                    self._push(self._now + self._rng.uniform(low, high), "send", client, until, 0)
