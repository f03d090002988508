"""Opens the database, and brings its schema up to date."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from .tables import FIRST_VERSION_TABLE, SQL_FORMAT, VERSION_TABLE, formats

BUSY_TIMEOUT = 5.0
"""Seconds to wait for SQLite's write lock, for a PostgreSQL connection, and for a pooled one."""
_BETWEEN_TRIES = 0.01


class DatabaseUnavailable(Exception):
    """The database does not answer, or not in time; nothing was changed."""

    code: ClassVar[str] = "database_unavailable"


class SchemaMismatch(Exception):
    """This program cannot work with the database's schema."""

    code: ClassVar[str] = "schema_mismatch"


class SchemaOutdated(SchemaMismatch):
    """The schema is older than this program; `gatepass migrate` helps."""

    code: ClassVar[str] = "schema_outdated"


class SchemaNewer(SchemaMismatch):
    """The schema is a newer program's, beside which this one cannot work."""

    code: ClassVar[str] = "schema_newer"


def open_engine(url: str, *, pool_size: int = 8) -> sa.Engine:
    """An engine for SQLite or PostgreSQL, lazily connected and bounded in its waiting."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT})
        sa.event.listen(engine, "connect", _configure_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    return sa.create_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=4,
        pool_timeout=BUSY_TIMEOUT,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": int(BUSY_TIMEOUT),
            # A query of ours takes milliseconds; one that waits on a lock for longer is given up.
            "options": f"-c lock_timeout={int(BUSY_TIMEOUT * 1000)}"
            f" -c statement_timeout={int(BUSY_TIMEOUT * 2000)}",
        },
    )


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # We begin transactions ourselves, so that a writer takes the lock before it reads.
    connection.isolation_level = None
    cursor = connection.cursor()
    _enter_wal(cursor)
    # An acknowledged row survives power loss, which NORMAL does not promise under WAL.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _enter_wal(cursor: sqlite3.Cursor) -> None:
    """Switch a new database to its write-ahead log.

    For this alone SQLite waits for nobody, so that of two processes that open a new database at
    once one would be told that it is locked.
    """
    end = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                raise
            time.sleep(_BETWEEN_TRIES)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection for one consistent read. Raises `DatabaseUnavailable`."""
    with _translated(), engine.connect() as connection:
        yield connection.execution_options(sqlite_begin="DEFERRED")


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One transaction, committed at the end. Raises `DatabaseUnavailable`."""
    with _translated(), engine.begin() as connection:
        yield connection


@contextmanager
def snapshot(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection whose every read sees the same moment. Raises `DatabaseUnavailable`."""
    with _translated(), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        yield connection.execution_options(sqlite_begin="DEFERRED")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, PoolTimeout) as cause:
        # The cause's text holds statement and parameters: not for a log line.
        kind = type(cause.__cause__ or cause).__name__
        raise DatabaseUnavailable(f"the database does not answer: {kind}") from None


def insert_if_absent(connection: sa.Connection, table: sa.Table, **values: Any) -> bool:
    """Insert a row unless its key is there already; two processes may do so at once.

    Whether this call inserted it.
    """
    insert = _insert_if_absent(connection.dialect.name, table)
    counted = connection.execute(insert, values, execution_options={"preserve_rowcount": True})
    return counted.rowcount > 0


@lru_cache
def _insert_if_absent(dialect: str, table: sa.Table) -> sa.Insert:
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    return insert.on_conflict_do_nothing()


def _alembic(engine: sa.Engine | None = None, connection: sa.Connection | None = None) -> Config:
    config = Config()
    location = Path(str(resources.files("issuer.database").joinpath("migrations")))
    config.set_main_option("script_location", str(location))
    config.attributes["engine"] = engine
    config.attributes["connection"] = connection
    return config


def current_revision(connection: sa.Connection) -> str | None:
    """The revision of the database's schema, None where there is none yet."""
    for table in (VERSION_TABLE, FIRST_VERSION_TABLE):
        options = {"version_table": table}
        found = MigrationContext.configure(connection, opts=options).get_current_revision()
        if found is not None:
            return found
    return None


def is_known_revision(revision: str) -> bool:
    """Whether this program has the migration that makes this revision."""
    scripts = ScriptDirectory.from_config(_alembic()).walk_revisions()
    return any(script.revision == revision for script in scripts)


def migrate(engine: sa.Engine) -> None:
    """Bring the schema up to date; safe to run by several processes at once.

    Leaves alone what a newer program has migrated. Raises `DatabaseUnavailable`, `SchemaMismatch`.
    """
    with _translated():
        command.upgrade(_alembic(engine), "head")
    require_schema(engine)


def upgrade(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the schema up to a revision within the caller's transaction."""
    command.upgrade(_alembic(connection=connection), revision)


def require_revision(current: str | None) -> str:
    """The revision, if it is this version's own. Raises `SchemaOutdated`."""
    head = ScriptDirectory.from_config(_alembic()).get_current_head()
    if current is None or current != head:
        raise SchemaOutdated(
            f"the database's schema is at {current or 'nothing'}, this version needs {head}:"
            " run `gatepass migrate`"
        )
    return current


def require_schema(engine: sa.Engine) -> None:
    """Raise `SchemaMismatch` unless this program can work with the schema: its own or a newer one
    that still admits it.
    """
    with reading(engine) as connection:
        current = current_revision(connection)
        if current is not None and not is_known_revision(current):
            _require_admission(connection, current)
            return
    require_revision(current)


def _require_admission(connection: sa.Connection, revision: str) -> None:
    row = None
    if sa.inspect(connection).has_table(formats.name):
        query = sa.select(formats.c.version, formats.c.least).where(formats.c.name == "sql")
        row = connection.execute(query).one_or_none()
    if row is None or row.version <= SQL_FORMAT:
        raise SchemaMismatch(
            f"the database's schema is at {revision}, which is no revision of this version,"
            " and nothing says that a newer one made it"
        )
    if row.least > SQL_FORMAT:
        raise SchemaNewer(
            f"the database's schema is at {revision}: it belongs to a newer version,"
            " beside which this one cannot work"
        )
