"""A day of honest people: tabs, phones that change networks, VPNs, night shifts, lost answers.

Shares are of sessions unless they say otherwise. They are guesses of what a service of this kind
sees, rather too many oddities than too few, and were written down before any rule was run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from .people import AS_DESKTOP, Device, Person, Population
from .plans import Client, Jar, Line, Plan, Tab, chance, pick

DAY = 86_400.0
HOUR = 3600.0

PERIOD = 240.0
"""Seconds between two refreshes of a page: tokens live five minutes and are renewed before."""

SHORT, MEDIUM = 0.62, 0.26
"""Sessions of minutes, and of an hour or two; the rest last a working day."""
LONE_TABS = 0.10
"""Pages whose tabs do not agree on who refreshes: each does."""
IN_STEP = 0.4
"""Of these: opened together, so that all ask at the same moments."""
RESTORED = 0.01
"""A browser restores a dozen tabs at once."""
BY_PAGE = 0.10
"""Pages that refresh whenever one is loaded."""
RELOADING = 0.002
"""Of all: somebody who reloads again and again for minutes."""
SLEEPERS = 0.4
"""Computers that are closed now and then."""
ON_THE_EDGE = 0.01
"""Phones between a network and none, which change every few minutes."""
VPN_SWITCHED = 0.25
"""Of a VPN user's sessions: switched on or off in the middle; in as many it is on all the time."""
UPDATED = 0.01
"""A browser that is updated meanwhile."""
DESKTOP_PAGE = 0.004
"""Of phones: the desktop's page is asked for, and sometimes the phone's again."""
EMULATED = 0.0002
"""Of computers: a developer who looks at a page as on a phone."""
EMULATION = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5) Version/17.5 Mobile Safari/604.1"
HOTELS = 0.02
"""Sessions on a network where the person has never been."""
JOURNEYS = 0.0002
"""Sessions of a computer in another part of the world; the phone, if any, roams home."""
NEW_DEVICES = 0.003
"""Logins with a device of which the service knows nothing."""
MISTYPED = ((0.90, 0, 0), (0.08, 1, 1), (0.015, 2, 3), (0.0045, 4, 8), (0.0005, 9, 14))
"""Shares of logins, and how many wrong passwords come before, at least and at most."""
GIVEN_UP = 0.01
"""Logins that are given up after one to four wrong passwords."""
RESTORED_COPY = 0.00001
"""A browser, or a machine, that is put back to what it was hours ago, tokens and all."""


class Honest:
    """Plans sessions for a population."""

    def __init__(self, population: Population, rng: random.Random) -> None:
        self._population = population
        self._rng = rng
        self._count = 0

    def day(self, number: int) -> Iterator[Plan]:
        """The sessions that begin on a day, in no order: about one for each person."""
        rng = self._rng
        for person in self._population.people:
            for _ in range(rng.choices((0, 1, 2, 3), (30, 46, 18, 6))[0]):
                yield self.session(person, number * DAY + self._hour(person) * HOUR)

    def _hour(self, person: Person) -> float:
        rng = self._rng
        if person.night:
            return rng.triangular(20, 30, 22)
        if rng.random() < 0.4:
            return rng.gauss(8.8, 0.5)  # when offices open
        return rng.triangular(6.5, 24, 14)

    def session(self, person: Person, start: float, device: Device | None = None) -> Plan:
        """One session of a person, on one of the person's devices unless one is given."""
        rng = self._rng
        self._count += 1
        if device is None and chance(rng, NEW_DEVICES):
            device = self._population.device(phone=chance(rng, 0.5))
            person.devices[rng.randrange(len(person.devices))] = device
        device = device or rng.choice(person.devices)
        end = start + self._length()
        client = Client(
            self._addresses(person, device, start, end),
            self._agents(device, start, end),
            Jar(),
            self._tabs(device, start, end),
            loss=device.loss,
            delay=pick(rng, 0.02, 0.4) if device.phone else pick(rng, 0.01, 0.15),
            asleep=self._naps(device, start, end),
        )
        plan = Plan(
            person.sub,
            f"h{self._count}",
            start,
            [client],
            failures=self._failures(),
            device=device.number,
        )
        if chance(rng, RESTORED_COPY):
            self._put_back(plan, client, end)
        return plan

    def _length(self) -> float:
        rng = self._rng
        kind = rng.random()
        if kind < SHORT:
            return pick(rng, 60, 1800)
        return pick(rng, 1800, 9000) if kind < SHORT + MEDIUM else rng.uniform(5, 10) * HOUR

    def _failures(self) -> int:
        rng = self._rng
        shares = [share for share, _, _ in MISTYPED]
        _, least, most = rng.choices(MISTYPED, shares)[0]
        return rng.randint(least, most)

    # Where

    def _addresses(self, person: Person, device: Device, start: float, end: float) -> Line:
        rng = self._rng
        if person.pool:
            return Line.always(*person.pool)
        if device.phone:
            return self._phone(person, start, end)
        at_work = bool(person.office) and 7.5 <= start % DAY / HOUR < 17 and chance(rng, 0.8)
        base = person.office if at_work else person.home
        if chance(rng, JOURNEYS):
            base = (self._population.fourth(self._population.elsewhere(person.region)),)
        elif chance(rng, HOTELS):
            base = (self._population.fourth(person.region),)
        line = Line.always(*base)
        if person.exits and not at_work:
            way = rng.random()
            if way < VPN_SWITCHED:
                line = Line.always(rng.choice(person.exits))
            elif way < 2 * VPN_SWITCHED:
                middle = rng.uniform(start, end)
                line.then(middle, rng.choice(person.exits))
                if chance(rng, 0.5):
                    line.then(rng.uniform(middle, end), *base)
        return line

    def _phone(self, person: Person, start: float, end: float) -> Line:
        """A phone goes from a wireless network to its carrier's and back."""
        rng = self._rng
        edge = chance(rng, ON_THE_EDGE)
        stay = 480.0 if edge else 5400.0
        cell = chance(rng, 0.5)
        # Who stands at the edge of a network does not change cells; who moves does.
        one = rng.choice(person.cells)
        line = Line.always(*(one,) if cell else person.home)
        now = start
        while True:
            now += rng.expovariate(1 / stay)
            if now >= end:
                return line
            cell = not cell
            if cell and not edge:
                one = rng.choice(person.cells)
            wireless = person.office or person.home
            line.then(now, *(one,) if cell else wireless)

    # With what

    def _agents(self, device: Device, start: float, end: float) -> Line:
        rng = self._rng
        line = Line.always(device.user_agent())
        if chance(rng, UPDATED):
            device.version += 1
            line.then(rng.uniform(start, end), device.user_agent())
        elif device.phone and chance(rng, DESKTOP_PAGE):
            asked = device.user_agent()
            for phone, desktop in AS_DESKTOP.items():
                asked = asked.replace(phone, desktop)
            middle = rng.uniform(start, end)
            line.then(middle, asked)
            if chance(rng, 0.6):
                line.then(rng.uniform(middle, end), device.user_agent())
        elif not device.phone and chance(rng, EMULATED):
            now = start
            for turn in range(rng.randint(1, 6)):
                now += pick(rng, 60, 1200)
                line.then(now, device.user_agent() if turn % 2 else EMULATION)
        return line

    def _tabs(self, device: Device, start: float, end: float) -> list[Tab]:
        rng = self._rng
        if chance(rng, RELOADING):
            # Beside its ordinary tab: a page that is reloaded every few seconds for minutes.
            busy = start + pick(rng, 30, 600)
            ordinary = Tab(start + PERIOD, PERIOD, end)
            return [ordinary, Tab(busy, pick(rng, 2, 10), busy + pick(rng, 60, 400), 0.5, True)]
        if chance(rng, BY_PAGE):
            return [Tab(start + 5, pick(rng, 30, 300), end, irregular=True)]
        if not device.phone and chance(rng, RESTORED):
            back = rng.uniform(start, end)
            restored = [
                Tab(back + rng.uniform(0, 4), PERIOD, end, jitter=4.0)
                for _ in range(rng.randint(8, 16))
            ]
            return [Tab(start + PERIOD, PERIOD, back), *restored]
        if not device.phone and chance(rng, LONE_TABS):
            number = rng.randint(2, 6)
            if chance(rng, IN_STEP):
                return [Tab(start + PERIOD, PERIOD, end, jitter=0.3) for _ in range(number)]
            return [Tab(start + rng.uniform(0, PERIOD), PERIOD, end) for _ in range(number)]
        return [Tab(start + PERIOD, PERIOD, end)]

    def _naps(self, device: Device, start: float, end: float) -> list[tuple[float, float]]:
        rng = self._rng
        if device.phone or end - start < HOUR or not chance(rng, SLEEPERS):
            return []
        naps = []
        for _ in range(rng.randint(1, 3)):
            asleep = rng.uniform(start, end)
            naps.append((asleep, asleep + pick(rng, 120, 7200)))
        return naps

    def _put_back(self, plan: Plan, client: Client, end: float) -> None:
        """What was there hours ago goes on: to the issuer a second client with an old token."""
        rng = self._rng
        old = rng.uniform(plan.start, end)
        back = old + pick(rng, 1800, 14_400)
        copy = Client(
            client.addresses,
            client.agents,
            Jar(),
            [Tab(back, PERIOD, back + HOUR)],
            loss=client.loss,
            delay=client.delay,
            steals_at=old,
        )
        plan.clients.append(copy)

    def given_up(self, number: int) -> Iterator[tuple[float, Person, int]]:
        """Logins of a day that fail and do not succeed: when, whose, how many wrong passwords."""
        rng = self._rng
        for person in self._population.people:
            if chance(rng, GIVEN_UP):
                start = number * DAY + self._hour(person) * HOUR
                yield start, person, rng.randint(1, 4)
