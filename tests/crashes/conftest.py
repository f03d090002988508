"""Issuers that are killed between any two of their steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from harness.crash_operations import crash_settings
from harness.crash_trace import TracedStage
from harness.crash_world import CrashWorld
from harness.gatepass_command import Gatepass
from harness.issuer_app import IssuerApp, migrated_sqlite
from harness.processes import short_directory
from harness.redis_server import RedisServer
from harness.warm_process import warm

import gateway.jwks


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the present schema, to be copied."""
    return migrated_sqlite(tmp_path_factory.mktemp("template") / "issuer.db")


@pytest.fixture
def make_stage(
    tmp_path: Path, redis_url: str, empty_database: Path
) -> Iterator[Callable[..., TracedStage]]:
    """An issuer in process, on SQLite and Redis, whose steps can be recorded."""
    with ExitStack() as stack:

        def make(**changes: Any) -> TracedStage:
            database = shutil.copy(empty_database, tmp_path / "issuer.db")
            issuer = IssuerApp.build(
                f"sqlite:///{database}", redis_url, tmp_path, **{**crash_settings(), **changes}
            )
            return TracedStage(stack.enter_context(issuer))

        yield make


@pytest.fixture
def stage(make_stage: Callable[..., TracedStage]) -> TracedStage:
    """One whose keys are in a directory."""
    return make_stage()


@pytest.fixture(scope="session")
def gatepass() -> Gatepass:
    """Starts issuers and commands quickly."""
    return warm()


@pytest.fixture(scope="session")
def make_world(
    gatepass: Gatepass, empty_database: Path
) -> Callable[..., AbstractContextManager[CrashWorld]]:
    """Makes an issuer to kill, on a database, a Redis and keys of its own."""

    @contextmanager
    def make(**options: Any) -> Iterator[CrashWorld]:
        directory = short_directory("gp-crash-")
        database = shutil.copy(empty_database, directory / "issuer.db")
        options.setdefault("database_url", f"sqlite:///{database}")
        try:
            with (
                mock.patch.object(gateway.jwks, "COOL_DOWN", 0.05),
                RedisServer() as redis,
                CrashWorld(gatepass, redis_url=redis.unix_url, directory=directory, **options) as w,
            ):
                yield w
        finally:
            shutil.rmtree(directory)

    return make
