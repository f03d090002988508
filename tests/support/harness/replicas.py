"""Replicas whose clocks a test moves, in step with a denylist, and what they make of a token."""

from __future__ import annotations

from harness.denylists import KID, HandClock, Token

from revocation import Denylist, Kind, Replica, TokenRevoked


def replica_of(denylist: Denylist, clock: HandClock, **options: object) -> Replica:
    """A replica whose clocks are all the one moved by hand."""
    return Replica(denylist, **{"clock": clock, "wall_clock": clock, **options})


def in_step(denylist: Denylist, clock: HandClock, **options: object) -> Replica:
    """A replica that has loaded and heard a heartbeat."""
    replica = replica_of(denylist, clock, **options)
    bring_in_step(replica, denylist)
    return replica


def bring_in_step(replica: Replica, denylist: Denylist) -> None:
    """Let it read all there is, then hear a new heartbeat."""
    replica.step(block=0)
    replica.step(block=0)
    denylist.heartbeat(0)
    replica.step(block=0)
    assert replica.staleness() == 1.0


def refused(replica: Replica, token: Token, kid: str = KID) -> Kind | None:
    """The kind of entry that refuses the token, None where it passes."""
    try:
        replica.check(token, kid)
    except TokenRevoked as refusal:
        return Kind(refusal.kind)
    return None
