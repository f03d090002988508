"""The detector of an issuer, from its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from revocation.denylist import REDIS_SCHEMES

from .alarm import Alarm
from .detector import AnomalyDetector
from .places import Places, Registries
from .rules import rules_of
from .settings import AnomalySettings
from .sighting import Digest
from .states import MemoryStates, States


class NoDatabase(ValueError):
    """The city database cannot be read; the text says why."""


def open_detector(
    settings: AnomalySettings,
    states: States,
    digest: Digest,
    respond: Callable[[Sequence[Alarm]], None],
) -> AnomalyDetector:
    """Raises `NoDatabase`."""
    return AnomalyDetector(rules_of(settings, _places(settings)), states, digest, respond)


def open_states(url: str, *, namespace: str = "gatepass") -> States:
    """Open a store of one of the kinds that families have. Raises `ValueError` for another."""
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return MemoryStates.shared(url)
    if scheme in REDIS_SCHEMES:
        from revocation.redis_circuit import Circuits
        from revocation.redis_client import connect

        from .redis_states import RedisStates

        return RedisStates(connect(url), namespace=namespace, circuits=Circuits.shared(url))
    raise ValueError(f"unknown scheme {scheme!r}")


def _places(settings: AnomalySettings) -> Places:
    travel = settings.impossible_travel
    if travel.database is None or not (settings.on and travel.on):
        return Registries()
    try:
        from .geo import CityDatabase
    except ModuleNotFoundError:
        raise NoDatabase("needs pip install 'gatepass[geo]'") from None
    try:
        return CityDatabase(travel.database, speed=travel.speed)
    except ValueError as error:
        raise NoDatabase(str(error)) from None
