"""An account logs in far away while another of its sessions goes on where it is.

Not a speed between two sightings: who switches a VPN on, or has a phone that roams, is somewhere
else within a second, every day. Asked for is what no one device explains: a session at one end
before the login at the other and after it, by a user agent that the account has only there, or
never had. A far end where the account has been before is its own. A known family is no stranger,
unless it is the very device of the other end: many have a phone and a computer of one maker.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ...audit import EventKind
from ..agents import device_of
from ..places import Place, Places
from ..settings import Travel as Settings
from ..sighting import Sighting
from .rule import DAY, SEEN, Evidence, Scope, State

MOST_LIVE = 6
"""Sessions of one account that are watched at a time."""
MOST_KNOWN = 8
"""Places, and user agents, that are remembered of one account."""


class ImpossibleTravel:
    """Implements `Rule`."""

    name: ClassVar[str] = "impossible_travel"
    scope: ClassVar[Scope] = Scope.ACCOUNT
    kinds: ClassVar[frozenset[EventKind]] = SEEN
    lifetime: ClassVar[int] = int(90 * DAY)
    quiet: ClassVar[float] = 0.0

    def __init__(self, settings: Settings, places: Places) -> None:
        self._within = settings.within
        self._logins = settings.logins
        self._places = places

    def judge(self, sighting: Sighting, state: State) -> Evidence | None:
        here = self._places.locate(sighting.event.address)
        sid = sighting.event.sid
        if here is None or sid is None:
            return None
        if sighting.event.kind is EventKind.SESSION_STARTED:
            alarm = None
            self._arrive(sighting, here, sid, state)
        else:
            alarm = self._go_on(sighting, here, sid, state)
        self._learn(sighting, here, sid, state)
        return alarm

    def _arrive(self, sighting: Sighting, here: Place, sid: str, state: State) -> None:
        """A login: whether somebody of this account is far from it."""
        state["n"] = min(state.get("n", 0) + 1, self._logins + 1)
        if state["n"] <= self._logins or self._been_near(here, state):
            return
        known = sighting.agent in state.get("a", [])
        device = device_of(sighting.event.user_agent)
        for other, (there, its_device, seen) in state.get("live", {}).items():
            seconds = sighting.time - seen
            if other == sid or seconds > self._within or (known and device != its_device):
                continue
            if self._places.apart(there, here, seconds):
                state["wait"] = [sid, here, sighting.agent, sighting.time, other]
                return

    def _go_on(self, sighting: Sighting, here: Place, sid: str, state: State) -> Evidence | None:
        """A refresh: whether it is the other end of a login that waits for it."""
        if "wait" not in state:
            return None
        arrived, there, agent, since, other = state["wait"]
        seconds = sighting.time - since
        if seconds > self._within:
            del state["wait"]
            return None
        if sid != other:
            return None
        del state["wait"]
        if not self._places.apart(there, here, seconds):
            return None  # it has come along: a VPN was switched on
        return {
            "sid": arrived,
            "agent": agent,
            "place": self._places.describe(there),
            "other_place": self._places.describe(here),
            "minutes": round(seconds / 60),
        }

    def _been_near(self, here: Place, state: State) -> bool:
        return any(self._places.near(here, place) for place in state.get("p", []))

    def _learn(self, sighting: Sighting, here: Place, sid: str, state: State) -> None:
        live: dict[str, Any] = state.setdefault("live", {})
        live.pop(sid, None)
        live[sid] = [here, device_of(sighting.event.user_agent), round(sighting.time)]
        for old in list(live)[:-MOST_LIVE]:
            del live[old]
        if not self._been_near(here, state):
            state["p"] = [*state.get("p", []), here][-MOST_KNOWN:]
        if sighting.agent not in state.get("a", []):
            state["a"] = [*state.get("a", []), sighting.agent][-MOST_KNOWN:]
