"""Migrations build what the tables say, once, however many processes run them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from issuer.database import SchemaOutdated, migrate, open_engine, require_schema
from issuer.database.engine import _alembic
from issuer.database.tables import metadata

# One import for all, then processes of their own that begin together when the pipe closes.
CHILDREN = """
import os, sys
from issuer.database import migrate, open_engine, require_schema
gate, opener = os.pipe()
children = []
for _ in range(6):
    child = os.fork()
    if not child:
        os.close(opener)
        os.read(gate, 1)
        engine = open_engine(sys.argv[1])
        migrate(engine)
        require_schema(engine)
        engine.dispose()
        os._exit(0)
    children.append(child)
os.close(opener)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def empty_engine(empty_url: str) -> Iterator[sa.Engine]:
    """Its engine."""
    engine = open_engine(empty_url)
    yield engine
    engine.dispose()


def differences(engine: sa.Engine) -> list[object]:
    """What Alembic would have to change to make the database like the tables."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        found: list[object] = list(compare_metadata(context, metadata))
        return found


def test_migrations_build_the_tables(empty_engine: sa.Engine) -> None:
    """After migrating nothing is left to change, types and indexes included."""
    assert differences(empty_engine)
    migrate(empty_engine)
    assert differences(empty_engine) == []


def test_the_partial_index_is_partial(empty_engine: sa.Engine) -> None:
    """The index of undone rows holds those alone, in both databases."""
    migrate(empty_engine)
    query = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE name = 'ix_journal_undone'",
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_journal_undone'",
    }[empty_engine.dialect.name]
    with empty_engine.connect() as connection:
        definition = connection.execute(sa.text(query)).scalar_one()
    assert "WHERE" in definition.upper()


def test_migrating_again_changes_nothing(empty_engine: sa.Engine) -> None:
    """A database that is up to date keeps its rows."""
    migrate(empty_engine)
    table = metadata.tables["disabled_clients"]
    with empty_engine.begin() as connection:
        connection.execute(sa.insert(table).values(client_id="demo", since=1))
    migrate(empty_engine)
    with empty_engine.connect() as connection:
        assert connection.execute(sa.select(table)).one() == ("demo", 1)


def test_a_database_of_another_version_is_named(empty_engine: sa.Engine) -> None:
    """Before migrating, and at an unknown version, the refusal says what to do."""
    with pytest.raises(SchemaOutdated, match=r"is at nothing.*gatepass migrate"):
        require_schema(empty_engine)
    migrate(empty_engine)
    require_schema(empty_engine)
    with empty_engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaOutdated, match="is at 9999"):
        require_schema(empty_engine)


def test_a_migration_can_be_taken_back(empty_engine: sa.Engine) -> None:
    """Downgrading leaves no table of ours."""
    migrate(empty_engine)
    command.downgrade(_alembic(empty_engine), "base")
    left = set(sa.inspect(empty_engine).get_table_names())
    assert left <= {"alembic_version"}


def test_a_migration_that_fails_leaves_nothing(
    empty_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a migration is one transaction."""
    from alembic import op

    real: Callable[..., object] = op.create_index
    made: list[str] = []

    def breaks(name: str, *args: object, **options: object) -> object:
        if len(made) == 3:
            raise RuntimeError("out of disk")
        made.append(name)
        return real(name, *args, **options)

    monkeypatch.setattr(op, "create_index", breaks)
    with pytest.raises(RuntimeError):
        migrate(empty_engine)
    assert sa.inspect(empty_engine).get_table_names() == []
    monkeypatch.undo()
    migrate(empty_engine)
    assert differences(empty_engine) == []


def test_several_processes_migrate_at_once(empty_url: str, empty_engine: sa.Engine) -> None:
    """Six processes that start together all end well, and the schema is there once."""
    ran = subprocess.run(
        [sys.executable, "-c", CHILDREN, empty_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout == f"{[0] * 6}\n", ran.stderr
    assert differences(empty_engine) == []
    with empty_engine.connect() as connection:
        versions = connection.execute(sa.text("SELECT version_num FROM alembic_version")).all()
    assert len(versions) == 1
