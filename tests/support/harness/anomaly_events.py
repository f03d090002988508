"""Events as the log has them, and a detector that says what it makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from issuer.anomalies import AnomalyDetector, AnomalySettings, MemoryStates, States, open_detector
from issuer.anomalies.alarm import Alarm
from issuer.audit import Event, EventKind, Outcome, Recorded
from issuer.limits.digests import Digests

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/{}.0.0.0 Safari/537.36"
CHROME, FIREFOX = WINDOWS.format(120), "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0"
SCRIPT = "python-requests/2.32.3"
HOME, CAFE, OFFICE = "62.1.2.3", "62.9.9.9", "62.5.5.5"
"""Of networks that one registry has."""
FAR = "24.1.2.3"
"""Of another's."""
START = 1_800_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


def event(kind: EventKind, at: float, **fields: Any) -> Event:
    """At a time after START; by default of one person's session at home."""
    given: dict[str, Any] = {
        "sub": "alice",
        "sid": "s1",
        "address": HOME,
        "user_agent": CHROME,
        **fields,
    }
    return Event(kind=kind, time=START + at, **given)


def started(at: float, **fields: Any) -> Event:
    return event(EventKind.SESSION_STARTED, at, why="login", **fields)


def refreshed(at: float, why: str = "rotated", **fields: Any) -> Event:
    return event(EventKind.SESSION_REFRESHED, at, why=why, **fields)


def failed(at: float, **fields: Any) -> Event:
    """A wrong password."""
    given: dict[str, Any] = {"sid": None, "why": "wrong_password", **fields}
    return event(EventKind.LOGIN, at, outcome=Outcome.FAILURE, **given)


def succeeded(at: float, **fields: Any) -> Event:
    return event(EventKind.LOGIN, at, why="login", **fields)


class Watch:
    """A detector, and the alarms that it has given."""

    def __init__(self, states: States | None = None, **settings: Any) -> None:
        self.now = START
        self.alarms: list[Alarm] = []
        self.states = MemoryStates(clock=lambda: self.now) if states is None else states
        self.detector: AnomalyDetector = open_detector(
            AnomalySettings(**settings), self.states, Digests("a test's").of, self.alarms.extend
        )
        self._seq = 0

    def numbered(self, events: Iterable[Event]) -> list[Recorded]:
        """The events at the next places of the log."""
        recorded = []
        for each in events:
            self._seq += 1
            recorded.append(Recorded(self._seq, each))
        return recorded

    def see(self, *events: Event, at_a_time: int = 1) -> list[str]:
        """Give events in batches; the rules whose alarms came of them."""
        before = len(self.alarms)
        recorded = self.numbered(events)
        for first in range(0, len(recorded), at_a_time):
            self.give(recorded[first : first + at_a_time])
        return [alarm.rule for alarm in self.alarms[before:]]

    def give(self, batch: Sequence[Recorded]) -> None:
        self.now = max(self.now, batch[-1].event.time)
        self.detector.consume(batch)
