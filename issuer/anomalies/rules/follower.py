"""A thief who follows a session inside the reuse interval.

He has a copy of one refresh token, and lives by the rule that lets other tabs and lost answers be:
each generation's parent is presented a second time, some seconds after the rotation. Tabs of one
browser share the cookie, so that a second presentation of the parent is one that was under way
already; answers are not lost in every generation. Who presents it seconds later, generation after
generation, keeps tokens of his own. Addresses and user agents that differ make it certain earlier.
"""

from __future__ import annotations

from typing import ClassVar

from ...audit import EventKind
from ..settings import Follower as Settings
from ..sighting import Sighting
from .rule import QUIET, SESSION_LIFE, Evidence, Scope, State

_ROTATED = "rotated"
_PARENT = frozenset({"resent", "retried_late"})


class Follower:
    """Implements `Rule`."""

    name: ClassVar[str] = "follower"
    scope: ClassVar[Scope] = Scope.SESSION
    kinds: ClassVar[frozenset[EventKind]] = frozenset({EventKind.SESSION_REFRESHED})
    lifetime: ClassVar[int] = SESSION_LIFE
    quiet: ClassVar[float] = QUIET

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def judge(self, sighting: Sighting, state: State) -> Evidence | None:
        outcome = sighting.event.why
        if outcome == _ROTATED:
            # A generation without a second presentation ends the row; one in which it came so
            # soon that it proves nothing does not.
            if not state.get("seen"):
                state["row"] = state["else"] = 0
            state["at"] = round(sighting.time, 3)
            state["by"] = [sighting.place, sighting.agent]
            state["seen"] = state["counted"] = state["counted_else"] = 0
        elif outcome in _PARENT and "at" in state:
            return self._second(sighting, state)
        return None

    def _second(self, sighting: Sighting, state: State) -> Evidence | None:
        state["seen"] = 1
        place, agent = state["by"]
        delay = sighting.time - state["at"]
        other_agent = agent != sighting.agent
        if delay < self._settings.delay and not other_agent:
            return None
        _count(state, "counted", "row")
        if other_agent or place != sighting.place:
            self._elsewhere(sighting, state)
        row, elsewhere = state.get("row", 0), state.get("else", 0)
        if elsewhere < self._settings.elsewhere and row < self._settings.anywhere:
            return None
        return {"generations": row, "from_elsewhere": elsewhere, "delay": round(delay, 1)}

    def _elsewhere(self, sighting: Sighting, state: State) -> None:
        # The same two each time: who is behind a pool of exits is elsewhere at every request.
        pair = sorted([state["by"], [sighting.place, sighting.agent]])
        if pair != state.get("pair"):
            state["pair"], state["else"], state["counted_else"] = pair, 0, 0
        _count(state, "counted_else", "else")


def _count(state: State, once: str, count: str) -> None:
    if not state.get(once):
        state[once] = 1
        state[count] = state.get(count, 0) + 1
