"""Where a network is, as far as anybody can say offline.

An address is no place, and two addresses have no distance. What stands in IANA's registries is
which of the five regional registries a block was given to: roughly a part of the world, of its
owner rather than of who sends. Blocks from before the registries, and those that are spread over
all of them, say nothing and are left out. A city database says more, and is wrong in its own way.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Any, Protocol

from ..networks import normalised

Place = Any
"""A value that JSON can hold."""


class Places(Protocol):
    """Finds places, and compares them. Raises nothing for any address."""

    def locate(self, address: str) -> Place | None:
        """None where nobody can say."""

    def near(self, one: Place, other: Place) -> bool:
        """Whether who is at home in one is no stranger in the other."""

    def apart(self, one: Place, other: Place, seconds: float) -> bool:
        """Whether nobody gets from one to the other within this time."""

    def describe(self, place: Place) -> str: ...


# IANA IPv4 Address Space Registry: the /8 blocks allocated to one registry, without legacy ones.
_BY_FIRST_OCTET = {
    "arin": "23 24 50 63-76 96-100 104 107 108 173 174 184 199 204-209 216",
    "ripe": "2 5 31 37 46 62 77-95 109 176 178 185 193-195 212 213 217",
    "apnic": "1 14 27 36 39 42 49 58-61 101 103 106 110-126 175 180 182 183 202 203 210 211"
    " 218-223",
    "lacnic": "177 179 181 186 187 189 190 200 201",
    "afrinic": "41 102 105 197",
}
# IANA IPv6 Global Unicast Address Assignments: the blocks of /12 alone, which hold nearly all.
_BY_FIRST_TWELVE_BITS = {
    0x240: "apnic",
    0x241: "apnic",
    0x260: "arin",
    0x263: "arin",
    0x280: "lacnic",
    0x2A0: "ripe",
    0x2A1: "ripe",
    0x2C0: "afrinic",
}


def _octets(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


_REGISTRIES = {
    octet: registry for registry, text in _BY_FIRST_OCTET.items() for octet in _octets(text)
}


def host_in(address: str) -> str:
    """An address in its one spelling, the first of its network where the log keeps no more."""
    return normalised(address.partition("/")[0])


class Registries:
    """Implements `Places`: a place is the registry that a network's block was given to."""

    def locate(self, address: str) -> Place | None:
        return _registry_of(address)

    def near(self, one: Place, other: Place) -> bool:
        return bool(one == other)

    def apart(self, one: Place, other: Place, seconds: float) -> bool:  # noqa: ARG002
        # Of what is seen at both ends within half an hour no time needs to be asked.
        return bool(one != other)

    def describe(self, place: Place) -> str:
        return str(place)


@lru_cache(maxsize=4096)
def _registry_of(address: str) -> str | None:
    spelled = host_in(address)
    if not spelled:
        return None
    found = ipaddress.ip_address(spelled)
    if not found.is_global:
        return None
    if found.version == 4:
        return _REGISTRIES.get(int(found) >> 24)
    return _BY_FIRST_TWELVE_BITS.get(int(found) >> 116)
