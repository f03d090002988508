"""Issuers on each pair of database and store."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from harness import stacks
from harness.issuer_app import IssuerApp, migrated_sqlite
from harness.postgres_server import PostgresServer

from issuer.database import migrate, open_engine
from issuer.database.tables import metadata


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_sqlite(tmp_path_factory.mktemp("template") / "issuer.db")


@pytest.fixture(scope="session")
def _postgres_database(postgres_server: PostgresServer) -> Iterator[sa.Engine]:
    url = postgres_server.create_database()
    engine = open_engine(url)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture(params=stacks.DEFAULT)
def stack(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The names of database and store; the marks of `harness.stacks` choose them."""
    database, _, store = str(request.param).partition("-")
    return database, store


@pytest.fixture
def database_url(stack: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of the test's own, its schema up to date."""
    if stack[0] == "sqlite":
        path = tmp_path / "issuer.db"
        shutil.copy(request.getfixturevalue("_sqlite_template"), path)
        return f"sqlite:///{path}"
    # One database for all tests, emptied for each: to copy one takes ten times as long.
    engine: sa.Engine = request.getfixturevalue("_postgres_database")
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(sa.delete(table))
    return engine.url.render_as_string(hide_password=False)


@pytest.fixture
def store_url(stack: tuple[str, str], request: pytest.FixtureRequest) -> str:
    """An empty store of the test's own."""
    if stack[1] == "memory":
        return f"memory://{secrets.token_hex(8)}"
    url: str = request.getfixturevalue("redis_url")
    return url


@pytest.fixture
def make_issuer(
    database_url: str, store_url: str, tmp_path: Path
) -> Iterator[Callable[..., IssuerApp]]:
    """Builds issuers on the same database and store, with changed settings."""
    made: list[IssuerApp] = []

    def make(**changes: Any) -> IssuerApp:
        made.append(IssuerApp.build(database_url, store_url, tmp_path, **changes))
        return made[-1]

    yield make
    for issuer in made:
        issuer.close()


@pytest.fixture
def issuer(make_issuer: Callable[..., IssuerApp]) -> IssuerApp:
    """An issuer with the default settings of tests."""
    return make_issuer()
