"""What every rule is: a function from an event, and what it has kept, to what it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

from ...audit import EventKind
from ..sighting import Sighting

State = dict[str, Any]
"""What a rule keeps about one session, account or network: JSON, and of a bounded size."""

Evidence = Mapping[str, Any]
"""Why it is an alarm: counts, times, families, networks; nothing secret."""

HOUR = 3600.0
QUIET = HOUR
"""For rules that would find the same thing again with every event."""
DAY = 86_400.0


class Scope(StrEnum):
    """Whose state a rule keeps."""

    SESSION = "session"
    ACCOUNT = "account"
    NETWORK = "network"
    EVERYWHERE = "everywhere"


class Rule(Protocol):
    """Must take any event of its kinds, and its own state of any time before."""

    @property
    def name(self) -> str:
        """As in the settings, and in the details of its alarms."""

    @property
    def scope(self) -> Scope: ...

    @property
    def kinds(self) -> frozenset[EventKind]:
        """Of the events that it wants to see."""

    @property
    def lifetime(self) -> int:
        """Seconds for which its state is worth anything after the last event."""

    @property
    def quiet(self) -> float:
        """Seconds for which it says no more about the same session, account or network."""

    def judge(self, sighting: Sighting, state: State) -> Evidence | None:
        """Bring `state`, which begins empty, up to date; evidence where this event is an alarm."""


SESSION_LIFE = 86_400
"""Seconds after its last event for which the state of a session is kept."""

SEEN = frozenset({EventKind.SESSION_STARTED, EventKind.SESSION_REFRESHED})
"""Events in which a session was somewhere."""


def remember(state: State, name: str, key: str, now: float, *, most: int) -> None:
    """Note the time at which `key` was seen; the one seen longest ago makes room."""
    seen: dict[str, float] = state.setdefault(name, {})
    seen.pop(key, None)
    seen[key] = round(now, 3)
    while len(seen) > most:
        del seen[min(seen, key=lambda each: seen[each])]


def recent(times: list[float], now: float, window: float, *, most: int) -> list[float]:
    """Of some times those that lie within the window, the latest of them if there are too many."""
    return [time for time in times if now - time < window][-most:]
