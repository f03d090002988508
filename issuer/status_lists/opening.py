"""Opens a status store from its URL."""

from __future__ import annotations

from urllib.parse import urlsplit

from revocation.denylist import REDIS_SCHEMES

from .store import MemoryStatusStore, StatusStore


def open_status_store(url: str, *, namespace: str = "gatepass") -> StatusStore:
    """Open a store of one of the kinds that families have. Raises `ValueError` for another."""
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return MemoryStatusStore.shared(url)
    if scheme in REDIS_SCHEMES:
        from revocation.redis_circuit import Circuits
        from revocation.redis_client import connect

        from .redis_status import RedisStatusStore

        return RedisStatusStore(connect(url), namespace=namespace, circuits=Circuits.shared(url))
    raise ValueError(f"unknown scheme {scheme!r}")
