"""What an event says about who did something, and from where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from ..audit import Event, EventKind, Outcome
from ..audit.refusals import others
from ..networks import network_of
from .agents import family_of

Digest = Callable[..., str]
"""Of some parts, keyed: what is kept of names and networks."""

_SHORT = 16
"""Hexadecimal digits: 64 bits are enough to tell the networks of one session or account apart."""


@dataclass(slots=True)
class Sighting:
    """An event as rules see it; `familiar` is found out once the account's record is read."""

    seq: int
    event: Event
    network: str
    """The address's network, or whatever stands for it where the log keeps pseudonyms."""
    place: str
    """A keyed digest of it; empty where nobody knows."""
    agent: str
    """The user agent's family; empty where there is none."""
    account: str
    """A keyed digest of the account, or of the name that was given for one."""
    familiar: bool = False
    """Whether the account has logged in from this network before."""

    @property
    def time(self) -> float:
        return self.event.time

    @property
    def sixth(self) -> bool:
        """Whether it came over IPv6: one device has an address of each version at once."""
        return ":" in self.network

    @property
    def more(self) -> int:
        """How many others of its kind it stands for."""
        return others(self.event)

    @property
    def failed(self) -> bool:
        return self.event.outcome is Outcome.FAILURE or self.event.kind is EventKind.LOGIN_LIMITED


@lru_cache(maxsize=8192)
def _network(address: str) -> str:
    return network_of(address) or address


def place_of(network: str, digest: Digest) -> str:
    """What is kept of a network."""
    return digest("anomalies network", network)[:_SHORT] if network else ""


def account_of(event: Event, digest: Digest) -> str:
    """What is kept of an account; of a name that nobody has, if the event tells names apart."""
    named = event.sub or event.details.get("account")
    return digest("anomalies account", str(named))[:_SHORT] if named else ""


def sighting_of(seq: int, event: Event, digest: Digest) -> Sighting:
    """Raises nothing: what cannot be read is empty."""
    network = _network(event.address)
    return Sighting(
        seq,
        event,
        network,
        place_of(network, digest),
        family_of(event.user_agent),
        account_of(event, digest),
    )
