"""What of a device has to stay as it was at the login (OWASP session cheat sheet).

A sign of theft and no proof against it: whoever steals a token can send the same header, and be in
the same network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..networks import network_of

USER_AGENT, NETWORK = "user_agent", "network"

# Browsers update while somebody is logged in; neither browser nor system changes with it.
_VERSION = re.compile(r"\d+(?:[._]\d+)*")


@dataclass(frozen=True, slots=True)
class Device:
    """Where a request comes from; empty fields where nobody knows."""

    address: str
    user_agent: str


def changed(binding: Iterable[str], was: Device, now: Device) -> str | None:
    """The first part of `binding` that is not as it was; None where all of it is."""
    parts = tuple(binding)
    if USER_AGENT in parts and _without_versions(was) != _without_versions(now):
        return USER_AGENT
    if NETWORK in parts and network_of(was.address) != network_of(now.address):
        return NETWORK
    return None


def _without_versions(device: Device) -> str:
    return _VERSION.sub("", device.user_agent)
