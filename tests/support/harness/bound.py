"""Gateways in processes of their own beside one real issuer, and what they may not accept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.fault_scenario import PASSWORD
from harness.issuer_process import IssuerFleet
from harness.processes import monotonic, until
from harness.watching_gateway import WatchingGateway

MAX_STALENESS = 1.5
"""Seconds; the issuers' heartbeats come four times a second."""
RECOVERY = 40.0


@dataclass(slots=True)
class Session:
    """A login's tokens, and when the end of it was acknowledged."""

    access: str
    refresh: str
    acknowledged: float = 0.0


@dataclass
class Bound:
    """One issuer on a Redis, and what was revoked there."""

    fleet: IssuerFleet
    directory: Path
    revoked: list[Session] = field(default_factory=list)

    def log_in(self) -> Session:
        """A session of somebody new."""
        username = f"person-{monotonic()}"
        self.fleet.add_account(username, PASSWORD)
        body = self.fleet.issuers[0].login(username, PASSWORD).granted()
        return Session(body["access_token"], body["refresh_token"])

    def revoke(self, session: Session) -> None:
        """Log out, however often it takes until that is acknowledged."""
        for _ in until(RECOVERY, "an acknowledged logout", pause=0.05):
            answer = self.fleet.issuers[0].ask("/logout", {"refresh_token": session.refresh})
            if answer.status == 200:
                break
        session.acknowledged = monotonic()
        self.revoked.append(session)

    def gateway(
        self, denylist: str, settings: dict[str, Any] | None = None, **options: Any
    ) -> WatchingGateway:
        """A gateway of this issuer, not yet started; `settings` are more of its verifier's."""
        verifier = {"max_staleness": MAX_STALENESS, "heartbeat_interval": 0.25}
        return WatchingGateway(
            self.directory / f"gateway-{monotonic()}",
            issuer=self.fleet.url,
            denylist=denylist,
            options={**verifier, **(settings or {})},
            **options,
        )

    def watched(self, gateway: WatchingGateway, number: int = 3) -> list[Session]:
        """Sessions whose tokens the gateway accepts by now."""
        sessions = [self.log_in() for _ in range(number)]
        for session in sessions:
            gateway.watch(session.access)
        for session in sessions:
            gateway.waits_until(session.access, "accepted")
        return sessions

    def dwells(self) -> None:
        """Let the bound of everything that was acknowledged pass, and as much again."""
        over = max(session.acknowledged for session in self.revoked) + 2 * MAX_STALENESS
        for _ in until(4 * MAX_STALENESS, "the bound"):
            if monotonic() > over:
                return

    def passes(self) -> None:
        """Let the bound pass from now on."""
        over = monotonic() + MAX_STALENESS
        for _ in until(4 * MAX_STALENESS, "the bound"):
            if monotonic() > over:
                return

    def closes(self, gateway: WatchingGateway, live: Session, since: float) -> None:
        """It refuses even a live token, and none of its checks has accepted it past the bound.

        `since` is the moment of the last news that it can have had.
        """
        for _ in until(RECOVERY, "a gateway that closes"):
            said = gateway.said(live.access)
            late = said.last_accepted - since
            assert late <= MAX_STALENESS, f"accepted {late:.3f} s after the last news: {said}"
            if said.now == "replica_stale":
                return

    def holds(self, gateway: WatchingGateway) -> None:
        """No check that began past the bound has accepted what was revoked."""
        for session in self.revoked:
            said = gateway.said(session.access)
            late = said.last_accepted - session.acknowledged
            assert late <= MAX_STALENESS, f"accepted {late:.3f} s after the acknowledgement: {said}"

    def recovers(self, gateway: WatchingGateway, live: Session) -> None:
        """By itself the gateway takes the live token again, and refuses what was revoked."""
        gateway.waits_until(live.access, "accepted", RECOVERY)
        for session in self.revoked:
            gateway.waits_until(session.access, "revoked", RECOVERY)
        self.holds(gateway)


MakeBound = Callable[[str], Bound]
