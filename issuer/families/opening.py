"""Opens a family store from its URL."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from revocation.denylist import REDIS_SCHEMES

from .family import FamilyStore, RotationRules
from .memory_families import MemoryFamilies
from .redis_families import RedisFamilies


def open_families(
    url: str,
    rules: RotationRules,
    *,
    namespace: str = "gatepass",
    clock: Callable[[], float] | None = None,
) -> FamilyStore:
    """Open a store of one of the kinds that the denylist has.

    `clock` replaces the store's own time, for tests. Raises `ValueError` for another scheme.
    """
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return MemoryFamilies.shared(url, rules, clock=clock or time.time)
    if scheme in REDIS_SCHEMES:
        from revocation.redis_circuit import Circuits
        from revocation.redis_client import connect

        circuits = Circuits.shared(url)
        return RedisFamilies(
            connect(url), rules, namespace=namespace, clock=clock, circuits=circuits
        )
    raise ValueError(f"unknown scheme {scheme!r}")
