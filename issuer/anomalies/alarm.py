"""An alarm: which rule, about what, and why."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ..audit import Event, EventKind
from .rules import Evidence, Scope
from .settings import Response

ACTOR = "anomalies"
"""Who did what was done about an alarm, in the audit log."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A rule's verdict about one event of the log."""

    rule: str
    seq: int
    cause: Event
    evidence: Evidence
    scope: Scope

    @property
    def about_accounts(self) -> bool:
        """Whether it is about many accounts, and not about one."""
        return self.scope in {Scope.NETWORK, Scope.EVERYWHERE}

    @property
    def sid(self) -> str | None:
        """The session that it is about: not always the one of the event that gave it away."""
        named = self.evidence.get("sid")
        return str(named) if named else self.cause.sid

    def event(self, responses: tuple[Response, ...]) -> Event:
        """For the log. The same alarm has the same id, however often it is found."""
        cause = self.cause
        digest = hashlib.sha256(f"{cause.id} {self.rule} {self.scope}".encode()).hexdigest()
        return Event(
            kind=EventKind.ANOMALY,
            time=cause.time,
            why=self.rule,
            sub=None if self.about_accounts else cause.sub,
            sid=self.sid,
            client_id=cause.client_id,
            address=cause.address,
            user_agent=cause.user_agent,
            request_id=cause.request_id,
            actor=ACTOR,
            details={
                "rule": self.rule,
                "response": [str(response) for response in responses],
                "evidence": dict(self.evidence),
                "seq": self.seq,
            },
            id=digest[:22],
        )
