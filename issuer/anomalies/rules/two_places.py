"""Two user agents, or two networks, take turns in one session.

A phone that leaves one network for another is no alarm, nor one that does so again and again: it
is on one of them for a while. Two lines that share an office's connections take each request as a
coin falls. Who shares the tokens of another, by a program in the other's browser for instance,
shows as two that come in turn, request by request, whatever the rotation makes of it.
"""

from __future__ import annotations

from typing import ClassVar

from ...audit import EventKind
from ..settings import TwoPlaces as Settings
from ..sighting import Sighting
from .rule import QUIET, SEEN, SESSION_LIFE, Evidence, Scope, State


class TwoPlaces:
    """Implements `Rule`."""

    name: ClassVar[str] = "two_places"
    scope: ClassVar[Scope] = Scope.SESSION
    kinds: ClassVar[frozenset[EventKind]] = SEEN
    lifetime: ClassVar[int] = SESSION_LIFE
    quiet: ClassVar[float] = QUIET

    def __init__(self, settings: Settings) -> None:
        self._agents = settings.agents
        self._networks = settings.networks

    def judge(self, sighting: Sighting, state: State) -> Evidence | None:
        # A device with an address of each version of IP uses either: they are no two places.
        lane = "6" if sighting.sixth else "4"
        agents = _turns(state, "a", sighting.agent)
        networks = _turns(state, lane, sighting.place)
        if agents >= self._agents:
            return {"agents_in_turn": agents, "agents": sorted(state["a"][:2])}
        if networks >= self._networks:
            return {"networks_in_turn": networks, "network": sighting.network}
        return None


def _turns(state: State, name: str, value: str) -> int:
    """Note `value`; how often in a row the session has come back to the one before the last."""
    if not value:
        return 0
    last, before, turns = state.get(name, ["", "", 0])
    turns = turns + 1 if value == before and value != last else 0
    state[name] = [value, last, turns]
    return int(turns)
