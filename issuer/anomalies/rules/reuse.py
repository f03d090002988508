"""A spent refresh token came again (RFC 9700 section 4.14.2). Rotation has ended the session."""

from __future__ import annotations

from typing import ClassVar

from ...audit import EventKind
from ..sighting import Sighting
from .rule import SESSION_LIFE, Evidence, Scope, State


class Reuse:
    """Implements `Rule`."""

    name: ClassVar[str] = "reuse"
    scope: ClassVar[Scope] = Scope.SESSION
    kinds: ClassVar[frozenset[EventKind]] = frozenset({EventKind.REUSE_DETECTED})
    lifetime: ClassVar[int] = SESSION_LIFE
    quiet: ClassVar[float] = 0.0

    def judge(self, sighting: Sighting, state: State) -> Evidence | None:  # noqa: ARG002
        return {"agent": sighting.agent, "network": sighting.network}
