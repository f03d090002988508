"""The database: its schema, what it promises about a commit, and what waits in the journal."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from ..database import DatabaseUnavailable, SchemaMismatch, require_schema
from ..database.tables import journal as journal_table
from .deployment import Deployment, is_local
from .finding import Finding, fail, ok, warn

WAITING = 60
"""Seconds: an undone row is completed within five where the denylist answers."""


def schema(deployment: Deployment) -> Iterator[Finding]:
    """Whether this release can work with it."""
    try:
        with deployment.engine() as engine:
            require_schema(engine)
    except SchemaMismatch as error:
        yield fail("schema", str(error), "this release does not start", "gatepass migrate")
    except DatabaseUnavailable as error:
        yield fail(
            "database",
            str(error),
            "nobody logs in or refreshes, and nothing can be revoked",
            "start it; docs/operations/runbooks.md#the-database-is-down",
        )
    else:
        yield ok("schema", "as this release needs it")


def sql_durability(deployment: Deployment) -> Iterator[Finding]:
    """Whether what was committed is there after a crash."""
    with deployment.connection() as connection:
        if connection.dialect.name == "sqlite":
            mode = connection.scalar(sa.text("PRAGMA journal_mode"))
            level = connection.scalar(sa.text("PRAGMA synchronous"))
            yield _sqlite(str(mode), int(level or 0))
        else:
            yield from _postgresql(deployment, connection)


def _sqlite(mode: str, synchronous: int) -> Finding:
    if mode == "wal" and synchronous >= 2:
        return ok("durability", "a write-ahead log, on disk at each commit")
    return fail(
        "durability",
        f"journal_mode is {mode}, synchronous {synchronous}",
        "a revocation that was acknowledged may be gone after a power cut",
        "the issuer sets both itself: see who else opens this file, and on what kind of disk it is",
    )


def _postgresql(deployment: Deployment, connection: sa.Connection) -> Iterator[Finding]:
    weak = {
        name: value
        for name, bad in _UNSAFE.items()
        if (value := str(connection.scalar(sa.text(f"SHOW {name}")))) in bad
    }
    if weak:
        yield fail(
            "durability",
            ", ".join(f"{name} is {value}" for name, value in weak.items()),
            "a revocation that was acknowledged may be gone after a crash; with fsync off the"
            " whole database may be",
            "; ".join(f"ALTER SYSTEM SET {name} = on" for name in weak)
            + "; SELECT pg_reload_conf()",
        )
    else:
        yield ok("durability", "on disk at each commit")
    encrypted = connection.scalar(
        sa.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    )
    if not is_local(deployment.database.host):
        yield _line(encrypted=bool(encrypted), in_production=deployment.is_production)


def _line(*, encrypted: bool, in_production: bool) -> Finding:
    """Of a database on another machine."""
    if encrypted:
        return ok("database:tls", "over TLS")
    return (fail if in_production else warn)(
        "database:tls",
        "plain TCP to another machine",
        "whoever is in between reads accounts and can change them",
        "add ?sslmode=verify-full to database_url",
    )


_UNSAFE = {
    "synchronous_commit": {"off"},
    "fsync": {"off"},
    "full_page_writes": {"off"},
}


def sqlite_file(deployment: Deployment) -> Iterator[Finding]:
    """Whether others can read or write the accounts."""
    if deployment.database.get_backend_name() != "sqlite" or deployment.database.database is None:
        return
    path = Path(deployment.database.database)
    mode = stat.S_IMODE(path.stat().st_mode)
    reachable = stat.S_IMODE(path.absolute().parent.stat().st_mode) & 0o005
    if mode & 0o002 or (mode & 0o004 and reachable):
        yield fail(
            "database-file",
            f"{path} has mode {mode:04o}",
            "every user of this machine can read password hashes",
            f"chmod 0600 {path}, and start the issuer with umask 0077",
        )
    else:
        yield ok("database-file", "not for others")


def journal(deployment: Deployment) -> Iterator[Finding]:
    """Revocations that gateways have not been told of."""
    before = int(deployment.clock()) - WAITING
    undone = sa.not_(journal_table.c.done)
    with deployment.connection() as connection:
        if not sa.inspect(connection).has_table(journal_table.name):
            return  # told by the check of the schema
        count = sa.select(sa.func.count()).where(undone, journal_table.c.created < before)
        waiting = connection.scalar(count) or 0
    if waiting:
        yield fail(
            "journal",
            f"{waiting} revocations have waited for more than {WAITING} s",
            "gateways let these tokens pass",
            "start an issuer and its Redis, which completes them; or: gatepass journal complete;"
            " docs/operations/runbooks.md#revocations-are-undone",
        )
    else:
        yield ok("journal", "every revocation is in the denylist")
