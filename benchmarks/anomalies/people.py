"""Who uses the service: people, their devices, and the networks that these are on.

How often something is so is a named constant here or in `honest`; what the rules make of it played
no part in choosing it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

REGIONS = {"ripe": 45, "arin": 30, "apnic": 15, "lacnic": 7, "afrinic": 3}
_OCTETS = {
    "ripe": (2, 31, 37, 46, 62, 77, 81, 84, 89, 91, 93, 109, 178, 193, 212, 217),
    "arin": (23, 24, 50, 65, 67, 68, 71, 73, 75, 96, 98, 104, 108, 173, 174, 184),
    "apnic": (1, 14, 27, 36, 42, 49, 58, 61, 101, 110, 114, 118, 121, 124, 180, 218),
    "lacnic": (177, 179, 181, 186, 187, 189, 190, 200, 201),
    "afrinic": (41, 102, 105, 197),
}
_SIXTH = {"ripe": "2a02", "arin": "2600", "apnic": "2400", "lacnic": "2804", "afrinic": "2c0f"}

DUAL_STACK = 0.45
"""Homes with IPv6 beside IPv4."""
EITHER_VERSION = 0.05
"""Of these, homes whose devices use either, request by request; the others keep to IPv6."""
OFFICE_WORKERS = 0.5
TWO_EXITS = 0.04
"""Office workers behind two lines that share the connections."""
POOL_USERS = 0.01
"""People behind a pool of exits that changes with every connection."""
VPN_USERS = 0.12
NIGHT_WORKERS = 0.05
PHONES = 0.75
"""People who also use a phone; and, below, a second computer."""
SECOND_COMPUTERS = 0.25
SHARED_CELLS = 48
"""/24 networks of one carrier's address translation."""

_LOSSES = ((0.90, 0.002), (0.085, 0.02), (0.013, 0.10), (0.002, 0.35))
"""How many devices lose how many of their answers."""

_COMPUTERS = (
    (44, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/{v}.0.0.0 Safari/537.36"),
    (14, "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/{v}.0.0.0 Safari/537.36 Edg/{v}.0.0.0"),
    (8, "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0"),
    (14, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/{v}.1 Safari/605.1.15"),
    (12, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Chrome/{v}.0.0.0 Safari/537.36"),
    (8, "Mozilla/5.0 (X11; Linux x86_64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0"),
)
_PHONES = (
    (40, "Mozilla/5.0 (Linux; Android 10; K) Chrome/{v}.0.0.0 Mobile Safari/537.36"),
    (10, "Mozilla/5.0 (Linux; Android 14; SM) SamsungBrowser/{v}.0 Chrome/115.0 Mobile Safari/537"),
    (38, "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5) Version/{v}.5 Mobile/15E148 Safari/604.1"),
    (6, "Shop/{v}.2 (Android 14; okhttp/4.12.0)"),
    (6, "Shop/{v}.2 CFNetwork/1498.700.2 Darwin/23.6.0"),
)
AS_DESKTOP = {
    "(Linux; Android 10; K)": "(X11; Linux x86_64)",
    "(Linux; Android 14; SM)": "(X11; Linux x86_64)",
    "(iPhone; CPU iPhone OS 17_5)": "(Macintosh; Intel Mac OS X 10_15_7)",
}


@dataclass
class Device:
    """One of a person's; `number` is unique."""

    number: int
    phone: bool
    agent: str
    """With the place for a version."""
    version: int
    loss: float
    """Of its answers."""

    def user_agent(self) -> str:
        return self.agent.format(v=self.version)


@dataclass
class Person:
    sub: str
    region: str
    home: tuple[str, ...]
    """An address, or two of which each request takes one."""
    office: tuple[str, ...]
    """Empty for who has none."""
    cells: tuple[str, ...]
    """Of the carrier: a phone that comes back to it gets one of these."""
    exits: tuple[str, ...]
    """Of the VPN; empty for who has none."""
    pool: tuple[str, ...]
    """All that this person's requests ever come from, if not empty."""
    night: bool
    devices: list[Device] = field(default_factory=list)


class Population:
    """Makes people, devices and addresses from one random stream."""

    def __init__(self, rng: random.Random, people: int) -> None:
        self._rng = rng
        self._devices = 0
        self._carriers = {
            region: [tuple(self.fourth(region) for _ in range(SHARED_CELLS)) for _ in range(4)]
            for region in REGIONS
        }
        offices = max(people // 60, 4)
        self._offices = [
            (region, self.fourth(region), self.fourth(region))
            for region in rng.choices(list(REGIONS), list(REGIONS.values()), k=offices)
        ]
        self._exits = {region: tuple(self.fourth(region) for _ in range(12)) for region in REGIONS}
        self.people = [self._person(number) for number in range(people)]

    def fourth(self, region: str) -> str:
        """An IPv4 address of the region."""
        rng = self._rng
        octet = rng.choice(_OCTETS[region])
        return f"{octet}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"

    def sixth(self, region: str) -> str:
        rng = self._rng
        return f"{_SIXTH[region]}:{rng.randrange(1 << 16):x}:{rng.randrange(1 << 16):x}::7"

    def elsewhere(self, region: str) -> str:
        """Another region than this one."""
        return self._rng.choice([other for other in REGIONS if other != region])

    def device(self, *, phone: bool) -> Device:
        rng = self._rng
        kinds = _PHONES if phone else _COMPUTERS
        agent = rng.choices([text for _, text in kinds], [share for share, _ in kinds])[0]
        loss = rng.choices([loss for _, loss in _LOSSES], [share for share, _ in _LOSSES])[0]
        self._devices += 1
        return Device(self._devices, phone, agent, rng.randrange(110, 130), loss)

    def _person(self, number: int) -> Person:
        rng = self._rng
        region = rng.choices(list(REGIONS), list(REGIONS.values()))[0]
        fourth, sixth = self.fourth(region), self.sixth(region)
        home: tuple[str, ...] = (fourth,)
        if rng.random() < DUAL_STACK:
            home = (fourth, sixth) if rng.random() < EITHER_VERSION else (sixth,)
        office: tuple[str, ...] = ()
        if rng.random() < OFFICE_WORKERS:
            _, one, other = rng.choice(
                [office for office in self._offices if office[0] == region] or self._offices
            )
            office = (one, other) if rng.random() < TWO_EXITS else (one,)
        pool: tuple[str, ...] = ()
        if rng.random() < POOL_USERS:
            pool = tuple(self.fourth(region) for _ in range(8))
        exits: tuple[str, ...] = ()
        if rng.random() < VPN_USERS:
            # Most take the nearest exits; one in four those of another part of the world.
            far = rng.random() < 0.25
            exits = rng.choice([self._exits[self.elsewhere(region) if far else region]])
        person = Person(
            f"p{number}",
            region,
            home,
            office,
            rng.choice(self._carriers[region]),
            exits,
            pool,
            rng.random() < NIGHT_WORKERS,
        )
        person.devices.append(self.device(phone=False))
        if rng.random() < PHONES:
            person.devices.append(self.device(phone=True))
        if rng.random() < SECOND_COMPUTERS:
            person.devices.append(self.device(phone=False))
        return person
