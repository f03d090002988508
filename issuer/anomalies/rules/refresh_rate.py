"""A session is refreshed faster than any person's tabs do, for longer than restoring them takes."""

from __future__ import annotations

from typing import ClassVar

from ...audit import EventKind
from ..settings import RefreshRate as Settings
from ..sighting import Sighting
from .rule import QUIET, SESSION_LIFE, Evidence, Scope, State


class RefreshRate:
    """Implements `Rule`."""

    name: ClassVar[str] = "refresh_rate"
    scope: ClassVar[Scope] = Scope.SESSION
    kinds: ClassVar[frozenset[EventKind]] = frozenset({EventKind.SESSION_REFRESHED})
    lifetime: ClassVar[int] = SESSION_LIFE
    quiet: ClassVar[float] = QUIET

    def __init__(self, settings: Settings) -> None:
        self._burst = settings.burst
        self._leak = settings.a_minute / 60

    def judge(self, sighting: Sighting, state: State) -> Evidence | None:
        now = sighting.time
        gone = max(now - state.get("t", now), 0.0) * self._leak
        level = max(state.get("n", 0.0) - gone, 0.0) + 1
        state["t"], state["n"] = round(now, 3), round(min(level, self._burst), 3)
        if level < self._burst:
            return None
        return {"more_than_a_minute": round(self._leak * 60), "beyond": self._burst}
