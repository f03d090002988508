"""Opens the database, and brings its schema up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
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

BUSY_TIMEOUT = 5.0
"""Seconds to wait for SQLite's write lock, for a PostgreSQL connection, and for a pooled one."""


class DatabaseUnavailable(Exception):
    """The database does not answer, or not in time; nothing was changed."""

    code: ClassVar[str] = "database_unavailable"


class SchemaOutdated(Exception):
    """The database's schema is not this version's."""

    code: ClassVar[str] = "schema_outdated"


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
    cursor.execute("PRAGMA journal_mode=WAL")
    # An acknowledged row survives power loss, which NORMAL does not promise under WAL.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


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


def insert_if_absent(connection: sa.Connection, table: sa.Table, **values: Any) -> None:
    """Insert a row unless its key is there already; two processes may do so at once."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(table).values(**values).on_conflict_do_nothing())


def _alembic(engine: sa.Engine | None = None, connection: sa.Connection | None = None) -> Config:
    config = Config()
    location = Path(str(resources.files("issuer.database").joinpath("migrations")))
    config.set_main_option("script_location", str(location))
    config.attributes["engine"] = engine
    config.attributes["connection"] = connection
    return config


def migrate(engine: sa.Engine) -> None:
    """Bring the schema up to date; safe to run by several processes at once.

    Raises `DatabaseUnavailable`.
    """
    with _translated():
        command.upgrade(_alembic(engine), "head")


def upgrade(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the schema up to a revision within the caller's transaction."""
    command.upgrade(_alembic(connection=connection), revision)


def current_revision(connection: sa.Connection) -> str | None:
    """The revision of the database's schema, None where there is none yet."""
    return MigrationContext.configure(connection).get_current_revision()


def is_known_revision(revision: str) -> bool:
    """Whether this version can bring a schema of that revision up to date."""
    scripts = ScriptDirectory.from_config(_alembic())
    return any(script.revision == revision for script in scripts.walk_revisions())


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
    """Raise `SchemaOutdated` unless the schema is this version's."""
    with reading(engine) as connection:
        require_revision(current_revision(connection))
