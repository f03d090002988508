"""Many wrong passwords for one account, from networks on which it has never logged in: at a login,
and where the current password is asked for, by who has stolen a token, say.

The limits of `issuer.limits` bound the guesses; this tells that there are some. What fails on a
network of the account's own is its owner's forgetting, and not counted.
"""

from __future__ import annotations

from typing import ClassVar

from ...audit import EventKind
from ..settings import Guessing as Settings
from ..sighting import Sighting
from .rule import DAY, HOUR, QUIET, Evidence, Scope, State, recent


class Guessing:
    """Implements `Rule`."""

    name: ClassVar[str] = "guessing"
    scope: ClassVar[Scope] = Scope.ACCOUNT
    kinds: ClassVar[frozenset[EventKind]] = frozenset(
        {EventKind.LOGIN, EventKind.LOGIN_LIMITED, EventKind.PASSWORD_REFUSED}
    )
    lifetime: ClassVar[int] = int(DAY)
    quiet: ClassVar[float] = QUIET

    def __init__(self, settings: Settings) -> None:
        self._hour = settings.an_hour
        self._day = settings.a_day

    def judge(self, sighting: Sighting, state: State) -> Evidence | None:
        if not sighting.failed or sighting.familiar:
            return None
        now, most = sighting.time, max(self._hour, self._day)
        # An event may stand for more that came in the same minute.
        new = [round(now, 1)] * min(1 + sighting.more, most)
        times = recent([*state.get("t", []), *new], now, DAY, most=most)
        state["t"] = times
        hour = sum(now - time < HOUR for time in times)
        if hour < self._hour and len(times) < self._day:
            return None
        return {"in_an_hour": hour, "in_a_day": len(times), "network": sighting.network}
