"""An account logs in with a user agent that it has not had for three months.

Networks alone say little: a phone has another one in every street. The evidence tells whether the
network is new as well.
"""

from __future__ import annotations

from typing import ClassVar

from ...audit import EventKind
from ..sighting import Sighting
from .rule import DAY, Evidence, Scope, State, remember

MOST_DEVICES = 8


class NewDevice:
    """Implements `Rule`."""

    name: ClassVar[str] = "new_device"
    scope: ClassVar[Scope] = Scope.ACCOUNT
    kinds: ClassVar[frozenset[EventKind]] = frozenset({EventKind.SESSION_STARTED})
    lifetime: ClassVar[int] = int(90 * DAY)
    quiet: ClassVar[float] = 0.0

    def judge(self, sighting: Sighting, state: State) -> Evidence | None:
        known = state.get("d", {})
        last = known.get(sighting.agent)
        # The first login of an account, or the first that is watched, has nothing to differ from.
        is_new = bool(known) and (last is None or sighting.time - last > self.lifetime)
        remember(state, "d", sighting.agent, sighting.time, most=MOST_DEVICES)
        if not is_new:
            return None
        return {
            "agent": sighting.agent,
            "network": sighting.network,
            "new_network": not sighting.familiar,
        }
