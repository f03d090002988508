"""One deployment that takes every attack."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator

import pytest
from harness.attack_material import Material
from harness.attack_surfaces import Deployment
from harness.processes import short_directory
from harness.redis_server import RedisServer


@pytest.fixture(scope="session")
def material() -> Material:
    """Of an issuer that no process runs, at a time that stands still."""
    return Material.in_process()


@pytest.fixture(scope="session")
def trap() -> Iterator[socket.socket]:
    """A listener that nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture(scope="session")
def deployment(trap: socket.socket) -> Iterator[Deployment]:
    """An issuer, a gateway and a verifier."""
    directory = short_directory("gp-attacks-")
    address = f"http://127.0.0.1:{trap.getsockname()[1]}/keys"
    with RedisServer() as redis, Deployment(directory, redis.unix_url, address) as running:
        yield running
    shutil.rmtree(directory)
