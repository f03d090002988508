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

from issuer.database import (
    SchemaMismatch,
    SchemaNewer,
    SchemaOutdated,
    migrate,
    open_engine,
    require_schema,
)
from issuer.database.engine import _alembic
from issuer.database.tables import (
    FIRST_VERSION_TABLE,
    SQL_FORMAT,
    VERSION_TABLE,
    formats,
    metadata,
)

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
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": True,
                "version_table": VERSION_TABLE,
                "include_name": lambda name, *_: name != FIRST_VERSION_TABLE,
            },
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


def newer(engine: sa.Engine, *, version: int, least: int) -> None:
    """What a newer program's migration would leave: an unknown revision and its format."""
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        connection.execute(sa.update(formats).values(version=version, least=least))


def revisions(engine: sa.Engine, table: str) -> list[str]:
    """What a table of Alembic's holds."""
    with engine.connect() as connection:
        return list(connection.scalars(sa.text(f"SELECT version_num FROM {table}")))


def test_an_older_schema_is_refused(empty_engine: sa.Engine) -> None:
    """Before migrating the refusal says what to do."""
    with pytest.raises(SchemaOutdated, match=r"is at nothing.*gatepass migrate"):
        require_schema(empty_engine)
    command.upgrade(_alembic(empty_engine), "0001")
    with pytest.raises(SchemaOutdated, match=r"is at 0001.*gatepass migrate"):
        require_schema(empty_engine)
    migrate(empty_engine)
    require_schema(empty_engine)


def test_the_last_migration_writes_the_format_that_the_program_knows(
    empty_engine: sa.Engine,
) -> None:
    """Or an older program would take a newer schema for a broken one."""
    migrate(empty_engine)
    with empty_engine.connect() as connection:
        query = sa.select(formats.c.version).where(formats.c.name == "sql")
        assert connection.scalar(query) == SQL_FORMAT


@pytest.mark.parametrize("least", [1, SQL_FORMAT])
def test_a_newer_schema_that_admits_this_program_is_fine(
    empty_engine: sa.Engine, least: int
) -> None:
    """An issuer works beside a newer one, and its `migrate` leaves the newer schema alone."""
    migrate(empty_engine)
    newer(empty_engine, version=SQL_FORMAT + 1, least=least)
    require_schema(empty_engine)
    migrate(empty_engine)
    assert revisions(empty_engine, VERSION_TABLE) == ["9999"]


def test_a_newer_schema_that_does_not_admit_it_is_refused(empty_engine: sa.Engine) -> None:
    """Neither serving nor migrating goes on, and the error says why."""
    migrate(empty_engine)
    newer(empty_engine, version=SQL_FORMAT + 1, least=SQL_FORMAT + 1)
    for refused in (require_schema, migrate):
        with pytest.raises(SchemaNewer, match="at 9999: it belongs to a newer version"):
            refused(empty_engine)
    assert revisions(empty_engine, VERSION_TABLE) == ["9999"]


def test_an_unknown_revision_that_nobody_vouches_for_is_refused(empty_engine: sa.Engine) -> None:
    """Whatever is neither ours nor a newer program's is not worked with."""
    migrate(empty_engine)
    newer(empty_engine, version=SQL_FORMAT, least=1)
    with pytest.raises(SchemaMismatch, match="is at 9999, which is no revision"):
        require_schema(empty_engine)
    with empty_engine.begin() as connection:
        connection.execute(sa.delete(formats))
    for refused in (require_schema, migrate):
        with pytest.raises(SchemaMismatch, match="is at 9999, which is no revision"):
            refused(empty_engine)
    with empty_engine.begin() as connection:
        formats.drop(connection)
    with pytest.raises(SchemaMismatch, match="is at 9999, which is no revision"):
        require_schema(empty_engine)


def test_the_first_release_finds_its_own_revision(empty_engine: sa.Engine) -> None:
    """0.1.0 works with no revision but 0001; what was added since does not concern it."""
    migrate(empty_engine)
    assert revisions(empty_engine, FIRST_VERSION_TABLE) == ["0001"]
    assert revisions(empty_engine, VERSION_TABLE) == ["0003"]


def test_the_schema_of_the_first_release_is_taken_over(empty_engine: sa.Engine) -> None:
    """Migrating goes on from the revision that 0.1.0 wrote, and leaves that where it is."""
    command.upgrade(_alembic(empty_engine), "0001")
    with empty_engine.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE {VERSION_TABLE} RENAME TO {FIRST_VERSION_TABLE}"))
    migrate(empty_engine)
    assert differences(empty_engine) == []
    assert revisions(empty_engine, FIRST_VERSION_TABLE) == ["0001"]
    assert revisions(empty_engine, VERSION_TABLE) == ["0003"]


def test_a_migration_can_be_taken_back(empty_engine: sa.Engine) -> None:
    """Downgrading leaves no table of ours."""
    migrate(empty_engine)
    command.downgrade(_alembic(empty_engine), "base")
    left = set(sa.inspect(empty_engine).get_table_names())
    assert left <= {VERSION_TABLE}


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
    assert revisions(empty_engine, VERSION_TABLE) == ["0003"]


# Each round is a new file, which four processes open at the same instant.
OPENING = """
import os, sys, time
from issuer.database import open_engine

failed = 0
for number in range(40):
    begin = time.monotonic() + 0.02
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            while time.monotonic() < begin:
                pass
            try:
                open_engine(f"sqlite:///{sys.argv[1]}/{number}.db").connect().close()
            except BaseException:
                os._exit(1)
            os._exit(0)
        children.append(child)
    failed += sum(os.waitpid(child, 0)[1] != 0 for child in children)
print(failed)
"""


def test_a_new_file_is_opened_by_several_processes_at_once(tmp_path: Path) -> None:
    """SQLite waits for nobody who switches a new file to its write-ahead log; so we do."""
    ran = subprocess.run(
        [sys.executable, "-c", OPENING, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "0\n"
