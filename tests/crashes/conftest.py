"""Issuers that are killed between any two of their steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from harness.crash_operations import crash_settings
from harness.crash_trace import TracedStage
from harness.issuer_app import IssuerApp, migrated_sqlite


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
