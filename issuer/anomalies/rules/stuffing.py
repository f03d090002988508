"""Stolen passwords tried at many accounts: from one network, and from everywhere at once.

Whoever mistypes a password soon has it right. What counts is accounts that fail and do not succeed.
"""

from __future__ import annotations

import base64
import hashlib
import math
from typing import ClassVar

from ...audit import EventKind
from ..settings import Stuffing as Settings
from ..sighting import Sighting
from .rule import QUIET, Evidence, Scope, State

WINDOW = 600.0
"""Seconds."""
BITS = 1 << 14
"""Of a sketch: it tells some thousands of accounts apart, to a few in a hundred."""

_LOGINS = frozenset({EventKind.LOGIN, EventKind.LOGIN_LIMITED})


class StuffingFromNetwork:
    """Implements `Rule`: a short list of the accounts themselves."""

    name: ClassVar[str] = "stuffing"
    scope: ClassVar[Scope] = Scope.NETWORK
    kinds: ClassVar[frozenset[EventKind]] = _LOGINS
    lifetime: ClassVar[int] = int(WINDOW)
    quiet: ClassVar[float] = QUIET

    def __init__(self, settings: Settings) -> None:
        self._most = settings.network

    def judge(self, sighting: Sighting, state: State) -> Evidence | None:
        now = sighting.time
        account = sighting.account or sighting.event.id
        failing = {
            each: since for each, since in state.get("f", {}).items() if now - since < WINDOW
        }
        if not sighting.failed:
            failing.pop(account, None)
        elif account not in failing:
            failing[account] = round(now, 1)
        alarm = len(failing) >= self._most
        # Full is full: the next failure says so again, and the list grows no further.
        state["f"] = dict(list(failing.items())[-self._most :])
        return {"accounts": len(failing), "network": sighting.network} if alarm else None


class StuffingEverywhere:
    """Implements `Rule`: a sketch of those that failed, and of those that succeeded.

    Each is a bitmap in which an account sets one bit; how many are in it follows from the bits
    that are still zero (linear counting, Whang, Vander-Zanden and Taylor 1990).
    """

    name: ClassVar[str] = "stuffing"
    scope: ClassVar[Scope] = Scope.EVERYWHERE
    kinds: ClassVar[frozenset[EventKind]] = _LOGINS
    lifetime: ClassVar[int] = int(WINDOW)
    quiet: ClassVar[float] = QUIET

    def __init__(self, settings: Settings) -> None:
        self._most = settings.everywhere

    def judge(self, sighting: Sighting, state: State) -> Evidence | None:
        window = int(sighting.time // WINDOW)
        if window > state.get("w", -1):
            state.update(w=window, f="", s="")
        failed, succeeded = _opened(state["f"]), _opened(state["s"])
        (failed if sighting.failed else succeeded).set(sighting.account or sighting.event.id)
        state["f"], state["s"] = failed.packed(), succeeded.packed()
        good = succeeded.count()
        only_failed = failed.union(succeeded).count() - good
        if only_failed < self._most or only_failed * 2 < good:
            return None
        return {"accounts": round(only_failed), "succeeded": round(good)}


class _Sketch:
    def __init__(self, bits: int) -> None:
        self._bits = bits

    def set(self, account: str) -> None:
        digest = hashlib.blake2b(account.encode(), digest_size=8).digest()
        self._bits |= 1 << int.from_bytes(digest, "big") % BITS

    def union(self, other: _Sketch) -> _Sketch:
        return _Sketch(self._bits | other._bits)

    def count(self) -> float:
        zeros = max(BITS - self._bits.bit_count(), 1)
        return BITS * math.log(BITS / zeros)

    def packed(self) -> str:
        octets = self._bits.to_bytes(BITS // 8, "big")
        return base64.b64encode(octets).decode() if self._bits else ""


def _opened(packed: str) -> _Sketch:
    return _Sketch(int.from_bytes(base64.b64decode(packed), "big"))
