"""Issuers on each pair of database and store."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.issuer_app import IssuerApp, migrated_sqlite
from harness.postgres_server import PostgresServer

from issuer.database import migrate, open_engine

DATABASES = ("sqlite", "postgresql")
STORES = ("memory", "redis")


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_sqlite(tmp_path_factory.mktemp("template") / "issuer.db")


@pytest.fixture(scope="session")
def _postgres_template(postgres_server: PostgresServer) -> str:
    url = postgres_server.create_database()
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    return url.rpartition("/")[2]


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """Which database; parametrize it indirectly to have one only."""
    name: str = request.param
    return name


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """Which store of families and denylist."""
    name: str = request.param
    return name


@pytest.fixture
def database_url(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """A database of the test's own, its schema up to date."""
    if database == "sqlite":
        path = tmp_path / "issuer.db"
        shutil.copy(request.getfixturevalue("_sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    template = request.getfixturevalue("_postgres_template")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.create_database(template)
    yield url
    server.drop_database(url)


@pytest.fixture
def store_url(store: str, request: pytest.FixtureRequest) -> str:
    """An empty store of the test's own."""
    if store == "memory":
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
