"""A backup: one moment of the database, whole or not at all, for either database to take back."""

from __future__ import annotations

import gzip
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from harness.issuer_app import CHEAP_HASHING, PASSWORD
from harness.lost_time import rewrite

from issuer import backup as backup_module
from issuer.accounts import PasswordHasher, PasswordPolicy, SqlAccounts
from issuer.backup import LEFT_OUT, BackupError, BackupFile, load_rows, write_backup
from issuer.database import SchemaOutdated, migrate, open_engine
from issuer.database.engine import current_revision, upgrade, writing
from issuer.database.tables import accounts, journal, key_rings, metadata, password_resets
from issuer.journal import append_row
from revocation import NEVER, Entry

NOW = 1_800_000_000
ISSUER = "https://id.example"
DATABASES = ("sqlite", "postgresql")
FIRST_TABLES = {"accounts", "journal", "disabled_clients", "access_lifetimes", "key_rings"}


@pytest.fixture
def make_engine(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[str], sa.Engine]]:
    """Makes empty databases of either kind."""
    made: list[sa.Engine] = []
    servers: list[tuple[Any, str]] = []

    def make(kind: str) -> sa.Engine:
        if kind == "sqlite":
            url = f"sqlite:///{tmp_path / f'{len(made)}.db'}"
        else:
            server = request.getfixturevalue("postgres_server")
            url = server.create_database()
            servers.append((server, url))
        made.append(open_engine(url))
        return made[-1]

    yield make
    for engine in made:
        engine.dispose()
    for server, url in servers:
        server.drop_database(url)


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, make_engine: Callable[[str], sa.Engine]) -> sa.Engine:
    """A database with something of everything in it."""
    made = make_engine(request.param)
    migrate(made)
    fill(made)
    return made


def fill(engine: sa.Engine) -> None:
    """Rows of every table, with values that do not survive carelessness."""
    with engine.begin() as connection:
        people = [
            {
                "id": f"sub-{number:04}",
                "username": f'zoë {number} 中 \u2028 "quoted"\n',
                "password_hash": "$argon2id$…",
                "credential_version": number + (1 << 52),
                "sub_ver": number + 2,
                "enabled": number % 2 == 0,
                "roles": ["admin", "größe"] if number % 3 else [],
                "created": NOW - number,
            }
            for number in range(1203)  # more than two batches
        ]
        connection.execute(sa.insert(accounts), people)
        append_row(connection, Entry.key("a-key"), reason="key", now=NOW)
        append_row(connection, Entry.session("S" * 22, NOW), reason="logout", now=NOW, sub="sub-1")
        connection.execute(sa.insert(key_rings).values(id=1, octets=bytes(range(256)), written=1))
        rows: dict[str, dict[str, Any]] = {
            "disabled_clients": {"client_id": "demo", "since": NOW},
            "access_lifetimes": {"seconds": 300, "in_force_until": NOW},
            "denylist_positions": {"id": 1, "epoch": "e", "seq": 1, "chain": "c"},
            "password_resets": {
                "digest": "d" * 64,
                "account_id": "sub-1",
                "credential_version": 1,
                "expires": NOW,
            },
            "factors": {
                "id": "f" * 22,
                "account_id": "sub-1",
                "kind": "totp",
                "label": "größe",
                "created": NOW,
                "failures": 3,
                "secret": bytes(range(256)),
                "last_step": 1,
                "sign_count": 0,
                "transports": ["usb"],
                "user_verified": False,
                "synced": False,
            },
            "recovery_codes": {"digest": "d" * 64, "account_id": "sub-1"},
            "factor_challenges": {
                "id": "c" * 64,
                "account_id": "sub-1",
                "purpose": "assert",
                "auth_time": 0,
                "label": "",
                "expires": NOW,
            },
        }
        for name, values in rows.items():
            connection.execute(sa.insert(metadata.tables[name]).values(**values))
        for table in metadata.sorted_tables:
            if not connection.scalar(sa.select(sa.func.count()).select_from(table)):
                connection.execute(sa.insert(table).values(**something_for(table)))
    assert all(contents(engine).values())


def something_for(table: sa.Table) -> dict[str, Any]:
    """A row with a value in every column."""
    values: dict[type, Any] = {int: 1, str: "é", bool: True, bytes: b"\x00", dict: {"a": [1]}}
    return {column.name: values[column.type.python_type] for column in table.columns}


def contents(engine: sa.Engine) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table; the journal's without its numbers."""
    found = {}
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            query = sa.select(table).order_by(*table.primary_key.columns)
            rows = [dict(row._mapping) for row in connection.execute(query)]
            if table is journal:
                for row in rows:
                    del row["id"]
            found[table.name] = rows
    return found


def write(engine: sa.Engine, path: Path, **options: Any) -> dict[str, int]:
    return write_backup(engine, path, issuer=ISSUER, now=NOW, **options)


@pytest.mark.parametrize("target", DATABASES)
def test_either_database_takes_it_back(
    engine: sa.Engine, make_engine: Callable[[str], sa.Engine], tmp_path: Path, target: str
) -> None:
    """Every value is what it was, whichever databases it came from and goes to."""
    counts = write(engine, tmp_path / "backup")
    found = BackupFile(tmp_path / "backup")
    assert found.counts == counts
    assert (found.header.issuer, found.header.created) == (ISSUER, NOW)
    other = make_engine(target)
    with writing(other) as connection:
        upgrade(connection)
        load_rows(connection, found, lambda _table, _rows: None)
    expected = contents(engine)
    assert {name: len(expected[name]) for name in counts} == counts
    assert set(expected) == set(counts) | LEFT_OUT
    got = contents(other)
    for name in counts:
        assert got[name] == expected[name]
    assert got["password_resets"] == got["denylist_positions"] == []
    # The database goes on numbering where the rows end.
    with writing(other) as connection:
        append_row(connection, Entry.key("another"), reason="key", now=NOW)


def test_loading_replaces_rows_and_never_their_numbers(engine: sa.Engine, tmp_path: Path) -> None:
    """An issuer that is about to mark an old row as done cannot hit a new one."""
    write(engine, tmp_path / "backup")
    with engine.connect() as connection:
        old = set(connection.scalars(sa.select(journal.c.id)))
    with writing(engine) as connection:
        connection.execute(sa.update(accounts).values(enabled=False))
        load_rows(connection, BackupFile(tmp_path / "backup"), lambda _table, _rows: None)
    with engine.connect() as connection:
        new = set(connection.scalars(sa.select(journal.c.id)))
        assert connection.scalar(sa.select(sa.func.count()).where(accounts.c.enabled))
    assert len(new) == len(old)
    assert min(new) > max(old)


def to_the_first_revision(lines: list[Any]) -> None:
    """Leave what the first revision had."""
    lines[0]["revision"] = "0001"
    kept, table = [lines[0]], ""
    for line in lines[1:]:
        if isinstance(line, dict) and "table" in line:
            table = line["table"]
        if table in FIRST_TABLES:
            kept.append(line)
    lines[:] = kept


def test_an_older_schema_is_brought_up_to_date(
    make_engine: Callable[[str], sa.Engine], engine: sa.Engine, tmp_path: Path
) -> None:
    """A backup of the version before goes into tables of its own time, which are migrated then."""
    write(engine, tmp_path / "backup")
    rewrite(tmp_path / "backup", to_the_first_revision, fewer_tables=True)
    other = make_engine(engine.dialect.name)
    with writing(other) as connection:
        upgrade(connection, "0001")
        assert "formats" not in sa.inspect(connection).get_table_names()
        load_rows(connection, BackupFile(tmp_path / "backup"), lambda _table, _rows: None)
        upgrade(connection)
        assert current_revision(connection) == "0003"
    assert contents(other)["formats"] == contents(engine)["formats"]
    assert contents(other)["accounts"] == contents(engine)["accounts"]


@contextmanager
def _each_read_for_itself(engine: sa.Engine) -> Iterator[sa.Connection]:
    """The mutant: no transaction around the reads."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            yield connection.execution_options(isolation_level="READ COMMITTED")
            return
        yield _Committing(connection)  # type: ignore[misc]


class _Committing:
    """Ends the transaction after each statement."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.dialect = connection.dialect

    def execute(self, query: Any) -> Any:
        rows = self._connection.execute(query).all()
        self._connection.rollback()
        return nullcontext(rows)


@pytest.mark.parametrize("mutant", [False, True], ids=["", "mutant"])
def test_a_change_in_the_middle_is_in_it_whole_or_not_at_all(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: bool
) -> None:
    """Accounts are read, a password changes, the journal is read: the two agree all the same."""
    if mutant:
        monkeypatch.setattr(backup_module, "snapshot", _each_read_for_itself)
        monkeypatch.setattr(backup_module, "current_revision", lambda _connection: "0003")
    hasher = PasswordHasher(**CHEAP_HASHING)
    people = SqlAccounts(engine, hasher, PasswordPolicy(15), lambda: float(NOW))
    bob = people.add("bob", PASSWORD)
    for _ in range(3):
        people.raise_versions(bob.id, expires=NOW, reason="operator")
    changed = []

    def change(table: str, rows: int) -> None:
        if table == "accounts" and rows > 1000 and not changed:
            changed.append(people.raise_versions(bob.id, expires=NOW, reason="operator"))

    write(engine, tmp_path / "backup", progress=change)
    assert changed
    version, level = 0, 0
    for table, row in BackupFile(tmp_path / "backup").rows():
        if table == "accounts" and row["id"] == bob.id:
            version = row["sub_ver"]
        if table == "journal" and row["value"] == bob.id:
            level = max(level, row["level"])
    assert version == 4
    assert level == (5 if mutant else 4)


def test_the_file_is_its_owners_alone(engine: sa.Engine, tmp_path: Path) -> None:
    """Mode 0600 whatever the umask, and nothing else is left in the directory."""
    old = os.umask(0)
    try:
        write(engine, tmp_path / "backup")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".*"))


def test_it_is_lines_of_json(engine: sa.Engine, tmp_path: Path) -> None:
    """Anybody can read one without this program; a spent reset token is not in it."""
    write(engine, tmp_path / "backup")
    header, *lines, end = map(
        json.loads, gzip.decompress((tmp_path / "backup").read_bytes()).splitlines()
    )
    assert header == {
        "kind": "gatepass-backup",
        "format": 1,
        "revision": "0003",
        "created": NOW,
        "issuer": ISSUER,
    }
    assert {line["table"] for line in lines if isinstance(line, dict)} == set(end["rows"])
    assert b"d" * 64 not in gzip.decompress((tmp_path / "backup").read_bytes())
    assert [line for line in lines if isinstance(line, list) and line[1:3] == ["key", "a-key"]] == [
        [1, "key", "a-key", 1, NEVER, NEVER, None, "key", NOW, False]
    ]


def test_a_file_that_is_there_stays(engine: sa.Engine, tmp_path: Path) -> None:
    """It is replaced on request alone, in one step."""
    path = tmp_path / "backup"
    path.write_text("precious")
    with pytest.raises(BackupError, match="is there already; --force replaces it"):
        write(engine, path)
    assert path.read_text() == "precious"
    write(engine, path, force=True)
    assert BackupFile(path).counts["accounts"] == 1203


def test_a_backup_that_fails_leaves_nothing(engine: sa.Engine, tmp_path: Path) -> None:
    """Not even a part of a file, and an older one stays."""
    path = tmp_path / "backup"
    path.write_text("precious")

    def full(table: str, _rows: int) -> None:
        if table == "accounts":
            raise OSError(28, "No space left on device")

    with pytest.raises(BackupError, match="cannot be written: No space left on device"):
        write(engine, path, force=True, progress=full)
    assert path.read_text() == "precious"
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(BackupError, match="No such file or directory"):
        write(engine, tmp_path / "nowhere" / "backup")


def test_only_a_schema_that_is_known(
    make_engine: Callable[[str], sa.Engine], tmp_path: Path
) -> None:
    """A database that has to be migrated first is not backed up in part."""
    for revision in (None, "0001"):
        engine = make_engine("sqlite")
        if revision:
            with writing(engine) as connection:
                upgrade(connection, revision)
        with pytest.raises(SchemaOutdated):
            write(engine, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_what_is_not_there_or_no_backup(tmp_path: Path) -> None:
    """Told apart: a name that is wrong, and a file that is."""
    with pytest.raises(BackupError, match="is not there"):
        BackupFile(tmp_path / "nothing")
    for content in (b"", b"text", gzip.compress(b""), gzip.compress(b"[]\n"), gzip.compress(b"1")):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(BackupError, match="no whole backup"):
            BackupFile(tmp_path / "file")
    assert password_resets.name in LEFT_OUT
