"""Backups: one consistent read of SQL, as lines of JSON that either database takes back.

A gzip file of lines: the header, then for each table an object with its columns and an array for
each row, and at the end an object with the number of rows and a SHA-256 over all lines before it.
The digest tells a file that was cut off or damaged; it is no defence against somebody who writes.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import sqlalchemy as sa

from revocation import Entry, Kind

from .database.engine import current_revision, require_revision, snapshot
from .database.tables import metadata

FORMAT = 1
LEFT_OUT = frozenset(
    {"password_resets", "recovery_codes", "factor_challenges", "denylist_positions", "formats"}
)
"""Tables that no restore may bring back: spent reset tokens and recovery codes, answered
challenges, another history's place in the feed, and what migrations make by themselves."""

NUMBERED = frozenset({"journal", "audit_outbox"})
"""Tables whose rows get new numbers: an issuer that goes on meanwhile must not hit one of them."""
AUDIT = frozenset({"audit_outbox", "audit_log", "audit_head", "audit_places", "audit_keys"})
"""Where the database has an audit log, it is the longer one, and stays."""

_BATCH = 500
_LONGEST_LINE = 1 << 24
_KIND = "gatepass-backup"
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

Progress = Callable[[str, int], None]
"""Told of a table's name and how many of its rows are done."""


class BackupError(Exception):
    """A backup that cannot be written, or a file that cannot be restored; nothing was changed."""

    code: ClassVar[str] = "backup_error"


@dataclass(frozen=True, slots=True)
class Header:
    """What a backup says of itself; `created` in seconds since the epoch."""

    revision: str
    created: int
    issuer: str


def no_progress(_table: str, _rows: int) -> None:
    """Tell nobody."""


# Writing


def write_backup(
    engine: sa.Engine,
    path: Path,
    *,
    issuer: str,
    now: int,
    force: bool = False,
    progress: Progress = no_progress,
) -> dict[str, int]:
    """Write every table to a new file of mode 0600; returns the rows of each.

    The file is there as a whole or not at all. Raises `BackupError`, `DatabaseUnavailable`,
    `SchemaOutdated`.
    """
    if not force and path.exists():
        raise BackupError(f"{path} is there already; --force replaces it")
    with _new_file(path) as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        lines = _Lines(packed.write)
        with snapshot(engine) as connection:
            revision = require_revision(current_revision(connection))
            header = {"kind": _KIND, "format": FORMAT, "revision": revision}
            lines.write({**header, "created": now, "issuer": issuer})
            counts = {
                table.name: _write_table(connection, table, lines, progress)
                for table in metadata.sorted_tables
                if table.name not in LEFT_OUT
            }
        lines.end(counts)
    return counts


def _write_table(
    connection: sa.Connection, table: sa.Table, lines: _Lines, progress: Progress
) -> int:
    lines.write({"table": table.name, "columns": table.columns.keys()})
    query = sa.select(table).order_by(*table.primary_key.columns)
    count = 0
    # From a cursor in the server: no table is ever in memory as a whole.
    with connection.execute(query.execution_options(yield_per=_BATCH)) as rows:
        for row in rows:
            lines.write([_text_of(value) for value in row])
            count += 1
            if count % _BATCH == 0:
                progress(table.name, count)
    progress(table.name, count)
    return count


def _text_of(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


class _Lines:
    """Writes lines and their digest."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._digest = hashlib.sha256()

    def write(self, value: Any) -> None:
        line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._digest.update(line)
        self._write(line)

    def end(self, counts: dict[str, int]) -> None:
        self.write({"rows": counts, "sha256": self._digest.hexdigest()})


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when all of it is on the disk. Raises `BackupError`."""
    try:
        # `mkstemp` makes it 0600 from the first moment.
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(number, "wb") as raw:
                yield raw
                raw.flush()
                os.fsync(raw.fileno())
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        _sync_directory(path.parent)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise BackupError(f"{path} cannot be written: {reason}") from None


def _sync_directory(directory: Path) -> None:
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


# Reading


class BackupFile:
    """A backup to be read, more than once if need be."""

    def __init__(self, path: Path) -> None:
        """Read it through once. Raises `BackupError` unless it is whole and of a known format."""
        self._path = path
        self.digest = ""
        self.header = self._header(next(self._lines(), None))
        self.counts: dict[str, int] = {}
        for _ in self.rows():
            pass

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each row with its table's name; raises `BackupError` where the file turns out broken."""
        lines = self._lines()
        next(lines)
        table, columns, counts = "", list[str](), dict[str, int]()
        for line in lines:
            match line:
                case list() if table and len(line) == len(columns):
                    counts[table] += 1
                    yield table, dict(zip(columns, line, strict=True))
                case {"table": str(table), "columns": [*columns]} if table not in LEFT_OUT and all(
                    isinstance(name, str) for name in columns
                ):
                    counts[table] = 0
                case {"rows": dict(said)}:
                    # `_lines` has compared the digest, and that this is the end.
                    if said != counts:
                        raise self._broken()
                case _:
                    raise self._broken()
        self.counts = counts

    def _lines(self) -> Iterator[Any]:
        """Each line's value, the digest compared before the last one is given out."""
        digest = hashlib.sha256()
        try:
            with gzip.open(self._path, "rb") as stream:
                while line := stream.readline(_LONGEST_LINE):
                    value = json.loads(line)
                    if isinstance(value, dict) and "sha256" in value:
                        found = digest.hexdigest()
                        # The second time it must be the same file as the first.
                        if value["sha256"] != found or self.digest not in {"", found}:
                            raise self._broken()
                        if stream.read(1):
                            raise self._broken()
                        self.digest = found
                        yield value
                        return
                    digest.update(line)
                    yield value
        except FileNotFoundError:
            raise BackupError(f"{self._path} is not there") from None
        except (OSError, EOFError, zlib.error, ValueError, RecursionError):
            raise self._broken() from None
        raise self._broken()

    def _header(self, first: Any) -> Header:
        match first:
            case {"kind": str(kind), "format": int(number)} if kind == _KIND and number > FORMAT:
                raise BackupError(
                    f"{self._path} is of format {number}, this version knows {FORMAT}:"
                    " restore it with the version that made it, or a newer one"
                )
            case {
                "kind": str(kind),
                "format": int(),
                "revision": str(revision),
                "created": int(created),
                "issuer": str(issuer),
            } if kind == _KIND:
                return Header(revision, created, issuer)
            case _:
                raise self._broken()

    def _broken(self) -> BackupError:
        return BackupError(
            f"{self._path} is no whole backup: it was cut off, changed, or never one"
        )


def load_rows(connection: sa.Connection, backup: BackupFile, progress: Progress) -> None:
    """Put a backup's rows in place of those that are there, in the caller's transaction.

    The tables are those of the backup's own revision. Raises `BackupError`.
    """
    found = sa.MetaData()
    # What the database has, not what this version's tables say: the schema may be an older one.
    found.reflect(connection, only=lambda name, _: name in backup.counts)
    if set(found.tables) != set(backup.counts):
        raise BackupError("the backup's tables are not those of its schema")
    journal = found.tables["journal"]
    last = connection.scalar(sa.select(sa.func.max(journal.c.id))) or 0
    kept = AUDIT if _has_log(connection, found) else frozenset[str]()
    for table in found.tables.values():
        if table is not journal and table.name not in kept:
            connection.execute(sa.delete(table))
    try:
        for name, count in _insert(connection, found, backup, kept):
            progress(name, count)
    except (sa.exc.IntegrityError, sa.exc.DataError, sa.exc.StatementError) as error:
        if isinstance(error, sa.exc.OperationalError):
            raise
        raise BackupError("the backup's rows do not fit its schema") from None
    # The journal's rows get new numbers above the old ones, so that an issuer which is still
    # about to mark one of those as done cannot hit a new one.
    connection.execute(sa.delete(journal).where(journal.c.id <= last))


def _has_log(connection: sa.Connection, found: sa.MetaData) -> bool:
    head = found.tables.get("audit_head")
    return head is not None and connection.execute(sa.select(head)).first() is not None


def _insert(
    connection: sa.Connection, found: sa.MetaData, backup: BackupFile, kept: frozenset[str]
) -> Iterator[tuple[str, int]]:
    batch: list[dict[str, Any]] = []
    held = ""
    done = 0
    for name, row in backup.rows():
        if name in kept:
            continue
        if batch and (name != held or len(batch) == _BATCH):
            connection.execute(sa.insert(found.tables[held]), batch)
            done += len(batch)
            yield held, done
            batch = []
        if name != held:
            held, done = name, 0
        batch.append(_values(found.tables[name], row))
    if batch:
        connection.execute(sa.insert(found.tables[held]), batch)
        yield held, done + len(batch)


def _values(table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
    if table.name in NUMBERED:
        row = {name: value for name, value in row.items() if name != "id"}
    if row.keys() - table.columns.keys():
        raise BackupError("the backup's columns are not those of its schema")
    if not _fits(table, row):
        raise BackupError("the backup's rows do not fit its schema")
    return {
        name: base64.b64decode(value)
        if isinstance(table.c[name].type, sa.LargeBinary) and isinstance(value, str)
        else value
        for name, value in row.items()
    }


def _fits(table: sa.Table, row: dict[str, Any]) -> bool:
    """Whether an issuer could work with a row; SQLite takes anything."""
    match table.name, row:
        case "journal", {"kind": kind, "value": str(value), "level": level, "expires": expires}:
            try:
                Entry(Kind(kind), value, level, expires)
            except (TypeError, ValueError):
                return False
        case "journal", _:
            return False
        case "accounts", {"roles": [*roles]}:
            if not all(isinstance(role, str) for role in roles):
                return False
        case "accounts", _:
            return False
    return all(_is_of(table.c[name], value) for name, value in row.items())


def _is_of(column: sa.Column[Any], value: Any) -> bool:
    if value is None:
        return bool(column.nullable)
    match column.type:
        case sa.JSON():
            return True
        case sa.Boolean():
            return isinstance(value, bool)
        case sa.Integer():
            return type(value) is int and abs(value) < 1 << 63
        case sa.LargeBinary():
            return isinstance(value, str) and _BASE64.fullmatch(value) is not None
        case _:
            # JSON can say what no UTF-8 can.
            return isinstance(value, str) and not any("\ud800" <= one <= "\udfff" for one in value)
