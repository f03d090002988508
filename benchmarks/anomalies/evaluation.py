"""Runs the detector over a labelled trace, day by day, and counts what it got right."""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from issuer.anomalies import AnomalySettings, MemoryStates, open_detector
from issuer.anomalies.alarm import Alarm
from issuer.anomalies.settings import RuleSettings
from issuer.audit import Event, EventKind, Outcome, Recorded
from issuer.limits.digests import Digests
from issuer.networks import network_of

from .attacks import ATTACKS, Attacks, Run, all_events, schedule
from .honest import DAY, Honest
from .people import Person, Population
from .plans import Plan, Timed
from .session import Happening

BATCH = 2000
STILL = 900.0
"""Seconds for which an attack on all accounts goes on to show."""
SEED = 10


@dataclass(frozen=True)
class Scale:
    people: int
    days: int
    runs: int
    """Of each attack."""
    warm: int
    """Days before the first, in which the log learns who is who; what is said of them counts."""


FULL = Scale(people=23_700, days=13, runs=100, warm=6)
PART = Scale(people=2000, days=10, runs=5, warm=6)
QUICK = Scale(people=150, days=6, runs=6, warm=3)


@dataclass
class Results:
    """What was counted."""

    scale: Scale
    sessions: int = 0
    """Honest ones."""
    events: int = 0
    new_devices: int = 0
    """Of honest people."""
    false: Counter[str] = field(default_factory=Counter)
    """Alarms about honest people, by rule."""
    false_sessions: set[str] = field(default_factory=set)
    true: Counter[str] = field(default_factory=Counter)
    """Alarms that were right, by rule."""
    new_devices_told: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    found: defaultdict[str, defaultdict[int, set[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(set))
    )
    """By attack, and by run: the rules that said something."""
    delays: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By rule: seconds from an attack's begin to its alarm."""
    most_records: int = 0
    examples: list[str] = field(default_factory=list)
    """Of false alarms."""

    def recall(self, label: str, rule: str | None = None) -> int:
        """Runs of an attack that a rule has found, or any of them."""
        return sum(rule is None or rule in rules for rules in self.found[label].values())

    def without(self, label: str, rule: str) -> int:
        """Runs that some other rule has found."""
        return sum(bool(rules - {rule}) for rules in self.found[label].values())


class Evaluation:
    """One trace and one detector."""

    def __init__(
        self, scale: Scale, settings: AnomalySettings | None = None, *, seed: int = SEED
    ) -> None:
        self._rng = random.Random(seed)
        self._population = Population(self._rng, scale.people)
        self._honest = Honest(self._population, self._rng)
        self._attacks = Attacks(self._population, self._honest, self._rng)
        self._now = 0.0
        self._states = MemoryStates(clock=lambda: self._now)
        self._detector = open_detector(
            settings or AnomalySettings(), self._states, Digests("evaluation").of, self._take
        )
        self._results = Results(scale)
        self._session_of: dict[str, Plan] = {}
        self._runs_of: dict[str, list[Run]] = defaultdict(list)
        """By session, account, and network of a password that was tried."""
        self._devices_of: defaultdict[str, set[int]] = defaultdict(set)
        self._everywhere: list[Run] = []
        self._seq = 0

    def run(self) -> Results:
        scale = self._results.scale
        planned = schedule(self._rng, range(scale.warm, scale.days), scale.runs)
        waiting: list[Timed] = []
        for day in range(scale.days):
            waiting += self._day(day, planned.get(day, []))
            heapq.heapify(waiting)
            until = (day + 1) * DAY if day + 1 < scale.days else float("inf")
            self._feed(_taken(waiting, until))
        return self._results

    def _day(self, day: int, labels: Sequence[str]) -> list[Timed]:
        """Everything that begins on it."""
        results = self._results
        plans = list(self._honest.day(day))
        runs = [self._attacks.run(label, day) for label in labels]
        for run in runs:
            self._note(run)
            plans += run.plans
        found = list(all_events(runs))
        for plan in sorted(plans, key=lambda each: each.start):
            self._session_of[plan.sid] = plan
            if not plan.label:
                results.sessions += 1
            found += Happening(plan, self._rng).run()
        for start, person, failures in self._honest.given_up(day):
            found += self._given_up(start, person, failures)
        return found

    def _note(self, run: Run) -> None:
        self._results.runs[run.label] += 1
        for plan in run.plans:
            if plan.label:
                self._runs_of[plan.sid].append(run)
        for sub in run.subs:
            self._runs_of[sub].append(run)
        for address in run.networks:
            self._runs_of[network_of(address)].append(run)
        if run.label.startswith("stuffing"):
            self._everywhere.append(run)

    def _given_up(self, start: float, person: Person, failures: int) -> Iterator[Timed]:
        for number in range(failures):
            self._seq += 1
            event = Event(
                kind=EventKind.LOGIN,
                time=start + 15.0 * number,
                outcome=Outcome.FAILURE,
                why="wrong_password",
                sub=person.sub,
                address=self._rng.choice(person.pool or person.home),
                user_agent=person.devices[0].user_agent(),
            )
            yield event.time, -self._seq, event

    def _feed(self, events: Iterator[Timed]) -> None:
        results = self._results
        while batch := list(islice(events, BATCH)):
            recorded = []
            for _, _, event in batch:
                results.events += 1
                if event.kind is EventKind.SESSION_STARTED:
                    self._begun(self._session_of[str(event.sid)])
                recorded.append(Recorded(results.events, event))
            self._now = batch[-1][0]
            self._detector.consume(recorded)
            results.most_records = max(results.most_records, len(self._states))

    def _begun(self, plan: Plan) -> None:
        """Whether its device is new follows from the order in which sessions begin."""
        used = self._devices_of[plan.sub]
        plan.new_device = bool(used) and plan.device not in used
        used.add(plan.device)
        if not plan.label:
            self._results.new_devices += plan.new_device

    def _take(self, alarms: Sequence[Alarm]) -> None:
        for alarm in alarms:
            self._judge(alarm)

    def _judge(self, alarm: Alarm) -> None:
        """Whether it is about an attack, and which."""
        results = self._results
        runs = self._attacks_of(alarm)
        plan = self._session_of.get(alarm.sid or "")
        if alarm.rule == "new_device" and plan is not None and not plan.stolen:
            runs = []  # the owner's login; what a thief did to the session came later
        if runs:
            results.true[alarm.rule] += 1
            for run in runs:
                self._found(run, alarm)
        elif alarm.rule == "new_device" and plan is not None and plan.new_device:
            results.true[alarm.rule] += 1
            results.new_devices_told += 1
        else:
            results.false[alarm.rule] += 1
            results.false_sessions.add(alarm.sid or alarm.cause.id)
            if len(results.examples) < 40:
                results.examples.append(f"{alarm.rule} {alarm.sid} {dict(alarm.evidence)}")

    def _attacks_of(self, alarm: Alarm) -> list[Run]:
        if alarm.about_accounts and "network" not in alarm.evidence:
            return [
                run
                for run in self._everywhere
                if run.start <= alarm.cause.time <= run.end + STILL and "slow" not in run.label
            ]
        if alarm.about_accounts:
            candidates = self._runs_of.get(str(alarm.evidence["network"]), [])
        elif alarm.sid is not None:
            candidates = self._runs_of.get(alarm.sid, [])
        else:
            candidates = self._runs_of.get(alarm.cause.sub or "", [])
        at = alarm.cause.time
        return [run for run in candidates if run.start <= at <= run.end + DAY]

    def _found(self, run: Run, alarm: Alarm) -> None:
        results = self._results
        rules = results.found[run.label][run.number]
        if alarm.rule not in rules:
            rules.add(alarm.rule)
            results.delays[alarm.rule].append(alarm.cause.time - run.began)


def _taken(queue: list[Timed], until: float) -> Iterator[Timed]:
    while queue and queue[0][0] < until:
        yield heapq.heappop(queue)


def evaluate(scale: Scale, settings: AnomalySettings | None = None, *, seed: int = SEED) -> Results:
    """Make the trace, run the detector over it, and count."""
    return Evaluation(scale, settings, seed=seed).run()


def halved() -> AnomalySettings:
    """Every threshold at half: the trace must have something that only the other half lets be."""
    usual = AnomalySettings()
    changed = {
        name: {
            field: max(value // 2, 2)
            for field, value in usual.of(name).model_dump(exclude={"on", "respond"}).items()
            if isinstance(value, int) and field not in {"within", "speed", "logins"}
        }
        for name in AnomalySettings.model_fields
        if isinstance(getattr(usual, name), RuleSettings)
    }
    return AnomalySettings.model_validate(changed)


LABELS = tuple(ATTACKS)
