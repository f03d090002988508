"""Issuers served by `gatepass serve`, from a settings file that tests change."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.gatepass_command import Gatepass
from harness.issuer_app import migrated_sqlite
from harness.processes import short_directory
from harness.redis_server import RedisServer
from harness.served_issuer import ServedIssuer
from harness.warm_process import warm


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_ours() -> None:
    """Forget settings that whoever runs the tests has in the environment."""
    for name in [name for name in os.environ if name.startswith("GATEPASS_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def gatepass() -> Gatepass:
    """Runs `gatepass` commands quickly."""
    return warm()


@pytest.fixture(scope="module")
def module_directory() -> Iterator[Path]:
    """A directory for a module's server."""
    directory = short_directory("gp-serve-")
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def issuer_directory(module_directory: Path) -> Iterator[Path]:
    """A directory for a server of the test's own."""
    directory = short_directory("gp-serve-")
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def served(redis_server: RedisServer, module_directory: Path) -> Iterator[ServedIssuer]:
    """A running `gatepass serve` on SQLite that a module's tests share and leave running."""
    redis_server.reset()
    database = migrated_sqlite(module_directory / "issuer.db")
    issuer = ServedIssuer(module_directory, f"sqlite:///{database}", redis_server.unix_url)
    with issuer:
        yield issuer
