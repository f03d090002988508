"""Attacks, each with what it does and what it varies. A run has a label: the attack's name."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from issuer.audit import Event, EventKind, Outcome

from .honest import DAY, HOUR, PERIOD, Honest
from .people import Device, Person, Population
from .plans import Client, Jar, Line, Plan, Tab, Timed, pick

SCRIPT = "python-requests/2.32.3"
OTHER_AGENTS = (SCRIPT, "curl/8.9.1", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0")


@dataclass
class Run:
    """One attack, and where its traces are."""

    label: str
    start: float
    end: float
    plans: list[Plan] = field(default_factory=list)
    events: list[Timed] = field(default_factory=list)
    subs: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    """Addresses from which passwords were tried."""
    number: int = 0
    began: float = 0.0
    """When the attack itself did, not the session that it is on."""


class Attacks:
    """Makes runs against people of a population."""

    def __init__(self, population: Population, honest: Honest, rng: random.Random) -> None:
        self._population = population
        self._honest = honest
        self._rng = rng
        self._count = 0
        self._runs = 0

    def run(self, label: str, day: int) -> Run:
        """A run of the attack on a day."""
        run = ATTACKS[label](self, label, day)
        self._runs += 1
        run.number = self._runs
        steals = [
            client.steals_at
            for plan in run.plans
            for client in plan.clients
            if client.steals_at is not None
        ]
        run.began = min(steals, default=run.start)
        return run

    # Sessions

    def _victim(self, day: int, *, hours: float) -> tuple[Person, Device, Plan]:
        """A person at a computer, with one tab, for some hours."""
        rng = self._rng
        person = rng.choice(self._population.people)
        device = rng.choice([each for each in person.devices if not each.phone] or person.devices)
        start = day * DAY + rng.uniform(8, 18) * HOUR
        plan = self._honest.session(person, start, device)
        client = plan.clients[0]
        client.tabs = [Tab(start + PERIOD, PERIOD, start + hours * HOUR)]
        client.asleep = []
        client.addresses = Line.always(*person.home)
        client.agents = Line.always(device.user_agent())
        plan.clients = [client]
        return person, device, plan

    def _session_run(self, label: str, plan: Plan, *others: Plan) -> Run:
        plan.label = label
        end = max(tab.until for client in plan.clients for tab in client.tabs)
        return Run(label, plan.start, end, [plan, *others])

    def _address(self, region: str) -> Line:
        return Line.always(self._population.fourth(region))

    def _thief(self, plan: Plan, region: str, *, agent: str | None = None) -> Client:
        owner = plan.clients[0]
        return Client(
            self._address(region),
            owner.agents if agent is None else Line.always(agent),
            Jar(),
            [],
            delay=0.1,
        )

    def lockstep(self, label: str, day: int) -> Run:
        """Behind every rotation by one to nine seconds."""
        person, _, plan = self._victim(day, hours=self._rng.uniform(2, 6))
        agent = self._rng.choice(OTHER_AGENTS) if label == "lockstep, other agent" else None
        thief = self._thief(plan, person.region, agent=agent)
        thief.follows = (0.1, 1.5) if label == "lockstep, at his heels" else (1.0, 9.0)
        thief.steals_at = plan.start + pick(self._rng, 300, 3600)
        if label in {"lockstep, same place", "lockstep, at his heels"}:
            thief.addresses = plan.clients[0].addresses
        plan.clients.append(thief)
        return self._session_run(label, plan)

    def stolen_late(self, label: str, day: int) -> Run:
        """The last token of a session, after its owner has gone."""
        rng = self._rng
        person, _, plan = self._victim(day, hours=pick(rng, 0.3, 3))
        other = label != "stolen late, same agent"
        thief = self._thief(plan, person.region, agent=rng.choice(OTHER_AGENTS) if other else None)
        gone = plan.clients[0].tabs[0].until
        thief.steals_at = gone + 1
        begin = gone + pick(rng, 60, 7200)
        thief.tabs = [Tab(begin, PERIOD, begin + 2 * HOUR)]
        plan.clients.append(thief)
        if label == "stolen late, owner returns":
            thief.agents = plan.clients[0].agents
            back = begin + pick(rng, 900, 5400)
            plan.clients[0].tabs.append(Tab(back, PERIOD, back + HOUR))
        return self._session_run(label, plan)

    def shared_jar(self, label: str, day: int) -> Run:
        """Something in the browser lends its newest token out, and takes the thief's back."""
        person, _, plan = self._victim(day, hours=self._rng.uniform(3, 6))
        thief = self._thief(plan, person.region)
        thief.jar = plan.clients[0].jar
        begin = plan.start + pick(self._rng, 300, 3600)
        period = PERIOD if label == "tokens lent out" else pick(self._rng, 60, 180)
        thief.tabs = [Tab(begin, period, plan.clients[0].tabs[0].until, jitter=20)]
        plan.clients.append(thief)
        run = self._session_run(label, plan)
        run.start = begin
        return run

    def fast(self, label: str, day: int) -> Run:
        """A program that refreshes far more often than it needs to."""
        rng = self._rng
        _, _, plan = self._victim(day, hours=1)
        client = plan.clients[0]
        period = 6.0 if label == "ten refreshes a minute" else pick(rng, 0.7, 1.9)
        client.tabs = [Tab(plan.start + 5, period, plan.start + 0.75 * HOUR, jitter=0.2)]
        return self._session_run(label, plan)

    def stolen_password(self, label: str, day: int) -> Run:
        """A login by a stranger while the owner works."""
        rng = self._rng
        person, device, plan = self._victim(day, hours=2)
        far = label.startswith("far away")
        region = self._population.elsewhere(person.region) if far else person.region
        stranger = self._population.device(phone=False)
        agent = device.user_agent() if label.endswith("same agent") else stranger.user_agent()
        begin = plan.start + rng.uniform(0.4, 1.5) * HOUR
        self._count += 1
        client = Client(
            self._address(region),
            Line.always(agent),
            Jar(),
            [Tab(begin + PERIOD, PERIOD, begin + HOUR)],
            delay=0.1,
        )
        theft = Plan(
            person.sub,
            f"t{self._count}",
            begin,
            [client],
            label=label,
            stolen=True,
            device=stranger.number,
        )
        return Run(label, begin, begin + HOUR, [plan, theft])

    # Passwords

    def _failure(self, at: float, sub: str, address: str, agent: str) -> Timed:
        self._count += 1
        event = Event(
            kind=EventKind.LOGIN,
            time=at,
            outcome=Outcome.FAILURE,
            why="wrong_password",
            sub=sub,
            client_id="web",
            address=address,
            user_agent=agent,
            id=f"f{self._count}",
        )
        return at, self._count, event

    def _tries(
        self, label: str, day: int, subs: list[str], addresses: list[str], minutes: float
    ) -> Run:
        rng = self._rng
        start = day * DAY + rng.uniform(0, 22) * HOUR
        times = sorted(rng.uniform(0, minutes * 60) for _ in subs)
        events = [
            self._failure(start + at, sub, addresses[number % len(addresses)], SCRIPT)
            for number, (at, sub) in enumerate(zip(times, subs, strict=True))
        ]
        end = start + minutes * 60
        return Run(
            label, start, end, events=events, subs=frozenset(subs), networks=frozenset(addresses)
        )

    def stuffing(self, label: str, day: int) -> Run:
        """Names and passwords from elsewhere, each tried once; nearly all are wrong."""
        rng = self._rng
        if label == "stuffing, one network":
            number, minutes, sources = rng.randint(60, 300), rng.uniform(5, 30), 1
        elif label == "stuffing, slow":
            number, minutes, sources = 120, 6 * 60.0, 1
        else:
            number, minutes, sources = rng.randint(2000, 5000), 20.0, 800
        subs = [f"name{self._count}-{each}" for each in range(number)]
        addresses = [self._population.fourth("arin") for _ in range(sources)]
        return self._tries(label, day, subs, addresses, minutes)

    def guessing(self, label: str, day: int) -> Run:
        """Passwords for one account."""
        rng = self._rng
        number, minutes = (rng.randint(25, 60), rng.uniform(30, 60))
        if label == "guessing, ten a day":
            number, minutes = 10, 18 * 60.0
        sub = rng.choice(self._population.people).sub
        addresses = [self._population.fourth("ripe") for _ in range(rng.randint(1, 20))]
        return self._tries(label, day, [sub] * number, addresses, minutes)


ATTACKS: dict[str, Callable[[Attacks, str, int], Run]] = {
    "lockstep, other address": Attacks.lockstep,
    "lockstep, other agent": Attacks.lockstep,
    "lockstep, same place": Attacks.lockstep,
    "lockstep, at his heels": Attacks.lockstep,
    "stolen late, other agent": Attacks.stolen_late,
    "stolen late, same agent": Attacks.stolen_late,
    "stolen late, owner returns": Attacks.stolen_late,
    "tokens lent out": Attacks.shared_jar,
    "tokens lent out, other rhythm": Attacks.shared_jar,
    "a refresh a second": Attacks.fast,
    "ten refreshes a minute": Attacks.fast,
    "far away, other agent": Attacks.stolen_password,
    "far away, same agent": Attacks.stolen_password,
    "near, other agent": Attacks.stolen_password,
    "near, same agent": Attacks.stolen_password,
    "stuffing, one network": Attacks.stuffing,
    "stuffing, everywhere": Attacks.stuffing,
    "stuffing, slow": Attacks.stuffing,
    "guessing": Attacks.guessing,
    "guessing, ten a day": Attacks.guessing,
}


def schedule(rng: random.Random, days: range, each: int) -> dict[int, list[str]]:
    """Which attacks are run on which day, `each` of every kind."""
    by_day: dict[int, list[str]] = {}
    for label in ATTACKS:
        # Thousands of names in twenty minutes drown everything else of the day.
        runs = max(each // 10, 1) if label == "stuffing, everywhere" else each
        for _ in range(runs):
            by_day.setdefault(rng.choice(days), []).append(label)
    return by_day


def all_events(runs: list[Run]) -> Iterator[Timed]:
    for run in runs:
        yield from run.events
