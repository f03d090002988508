"""What is kept of an address (GDPR art. 5(1)(c): no more than is needed)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..networks import network_of
from .chain import ChainKey
from .event import Event

Treat = Callable[[Event], Event]


def treatment(how: str, key: ChainKey) -> Treat:
    """What is done to each event before it is written to the log."""
    if how == "full":
        return lambda event: event
    change = _changes(key)[how]
    return lambda event: replace(event, address=change(event.address)) if event.address else event


def _changes(key: ChainKey) -> dict[str, Callable[[str], str]]:
    return {
        "truncated": network_of,
        "pseudonym": lambda address: key.pseudonym("address", address),
        "none": lambda _address: "",
    }
