"""What a session is made of: clients that hold its tokens, when they ask, and from where."""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import dataclass, field

from issuer.audit import Event


@dataclass
class Line:
    """What holds from which moment on: addresses of which each request takes one, or an agent."""

    since: list[float]
    values: list[tuple[str, ...]]

    @classmethod
    def always(cls, *values: str) -> Line:
        return cls([float("-inf")], [values])

    def then(self, since: float, *values: str) -> None:
        """From `since`, later than all before, on."""
        self.since.append(since)
        self.values.append(values)

    def at(self, time: float, rng: random.Random) -> str:
        found = self.values[bisect_right(self.since, time) - 1]
        return found[0] if len(found) == 1 else rng.choice(found)


@dataclass
class Jar:
    """Where the tabs of one browser keep the refresh token: a thief has one of his own."""

    gen: int = 1


@dataclass
class Tab:
    """Something that refreshes by itself. Seconds."""

    first: float
    period: float
    until: float
    jitter: float = 2.0
    irregular: bool = False
    """Whether it asks when a page is loaded, at any time, and not by a timer."""


@dataclass
class Client:
    """A browser, an app, or a thief's program."""

    addresses: Line
    agents: Line
    jar: Jar
    tabs: list[Tab]
    loss: float = 0.0
    delay: float = 0.05
    """Seconds on the way, in the middle."""
    asleep: list[tuple[float, float]] = field(default_factory=list)
    follows: tuple[float, float] | None = None
    """Of a thief: how long after each rotation by others he comes, at least and at most."""
    steals_at: float | None = None
    """When his jar is filled from the first client's."""


@dataclass
class Plan:
    """One session."""

    sub: str
    sid: str
    start: float
    clients: list[Client]
    failures: int = 0
    """Wrong passwords before it."""
    label: str = ""
    """The attack that it is, if it is one."""
    stolen: bool = False
    """Whether it began with somebody else's password."""
    device: int = 0
    """Whose number is each device's own."""
    new_device: bool = False
    """Whether the account had others before and never this one; found when the session begins."""


Timed = tuple[float, int, Event]
"""When, in which order among those of one moment, what."""


def pick(rng: random.Random, low: float, high: float) -> float:
    """Between two numbers, as likely near one as near twice of it."""
    return float(low * (high / low) ** rng.random())


def chance(rng: random.Random, share: float) -> bool:
    return rng.random() < share
