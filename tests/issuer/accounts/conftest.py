"""A directory of accounts on each database, and nothing else of an issuer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from harness.account_directory import OLD
from harness.issuer_app import CHEAP_HASHING, MovableClock

from issuer.accounts import (
    Account,
    PasswordHasher,
    PasswordPolicy,
    SqlAccounts,
)
from issuer.database import open_engine


@pytest.fixture(params=["sqlite", "postgresql"])
def stack(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Both databases; no store takes part."""
    return request.param, "memory"


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """The engine under test."""
    made = open_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def clock() -> MovableClock:
    """The directory's time."""
    return MovableClock()


@pytest.fixture
def directory(engine: sa.Engine, clock: MovableClock) -> SqlAccounts:
    """A directory with cheap hashing."""
    return SqlAccounts(engine, PasswordHasher(**CHEAP_HASHING), PasswordPolicy(15), clock)


@pytest.fixture
def alice(directory: SqlAccounts) -> Account:
    """An account as it was made."""
    return directory.add("alice", OLD, roles=("admin", "staff"))
