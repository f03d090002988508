"""A session goes on with another user agent and on another network, both at once.

One of the two changes by itself every day: a phone's network, a page asked for as a desktop's.
A browser's session does not wander into another browser somewhere else.
"""

from __future__ import annotations

from typing import ClassVar

from ...audit import EventKind
from ..sighting import Sighting
from .rule import QUIET, SEEN, SESSION_LIFE, Evidence, Scope, State, remember

MOST_AGENTS = 4
MOST_NETWORKS = 8


class Moved:
    """Implements `Rule`."""

    name: ClassVar[str] = "moved"
    scope: ClassVar[Scope] = Scope.SESSION
    kinds: ClassVar[frozenset[EventKind]] = SEEN
    lifetime: ClassVar[int] = SESSION_LIFE
    quiet: ClassVar[float] = QUIET

    def judge(self, sighting: Sighting, state: State) -> Evidence | None:
        if not sighting.agent or not sighting.place:
            return None
        agents, places = state.get("a", {}), state.get("p", {})
        before = sorted(agents)
        moved = bool(agents) and sighting.agent not in agents and sighting.place not in places
        remember(state, "a", sighting.agent, sighting.time, most=MOST_AGENTS)
        remember(state, "p", sighting.place, sighting.time, most=MOST_NETWORKS)
        if not moved:
            return None
        return {"agent": sighting.agent, "agents_before": before, "network": sighting.network}
