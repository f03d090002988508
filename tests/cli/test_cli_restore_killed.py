"""`gatepass restore` killed between any two of its steps, and run again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from harness.gatepass_command import Completed, Gatepass
from harness.issuer_app import migrated_sqlite

from issuer.accounts import PasswordHasher, PasswordPolicy, SqlAccounts
from issuer.crash_points import CrashPoint
from issuer.database import open_engine
from issuer.database.tables import accounts, journal
from issuer.families import FamilyStore, NewFamily, RotationRules, open_families
from revocation import Denylist, DenylistState, Probe, open_denylist
from revocation.entry import Kind, record_key

FIRST = "seven violet otters juggle 91"
POINTS = [str(point) for point in CrashPoint if point.startswith("restore.")]
AFTER_COMMIT = POINTS[1:]
SUB_VER = 7


class Stack:
    """An issuer's stores, as they are when somebody has just put an older database back."""

    def __init__(self, gatepass: Gatepass, directory: Path, redis_url: str) -> None:
        self._gatepass = gatepass
        self.file = directory / "backup"
        self.settings = {
            "GATEPASS_ISSUER": "http://127.0.0.1:8000",
            "GATEPASS_MODE": "development",
            "GATEPASS_DATABASE_URL": f"sqlite:///{migrated_sqlite(directory / 'issuer.db')}",
            "GATEPASS_REDIS_URL": redis_url,
            "GATEPASS_KEY_STORE": "database",
            "GATEPASS_ISSUER_SKEW": "0",
            "GATEPASS_CLIENTS": json.dumps({"demo": {"audience": "api"}}),
        }
        self.engine = open_engine(self.settings["GATEPASS_DATABASE_URL"])
        self.families: FamilyStore = open_families(redis_url, RotationRules())
        self.denylist: Denylist = open_denylist(redis_url)
        hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, concurrency=1)
        people = SqlAccounts(self.engine, hasher, PasswordPolicy(15), lambda: 0.0)
        self.sub = people.add("alice", FIRST).id
        self("users", "list").done()  # which makes the first keys
        self.old_kids = self.kids()
        self("backup", str(self.file)).done()
        self.denylist.initialise(0)
        self.families.create(
            NewFamily(
                sub=self.sub,
                sid="A" * 22,
                client_id="demo",
                credential_version=SUB_VER,
                auth_time=1,
                amr=("pwd",),
                scope="",
                idle=None,
                absolute_end=1 << 40,
            )
        )

    def __call__(self, *arguments: str, die_at: str = "") -> Completed:
        env = {**self.settings, **({"DIE_AT": die_at} if die_at else {})}
        return self._gatepass(*arguments, env=env)

    def kids(self) -> set[str]:
        rows = self("keys", "list", "--json").done().json["keys"]
        return {row["kid"] for row in rows if row["alg"] != "A256GCM"}

    def empty(self) -> None:
        with self.engine.begin() as connection:
            for table in (accounts, journal):
                connection.execute(sa.delete(table))

    def rows(self) -> tuple[Any, ...]:
        with self.engine.connect() as connection:
            return tuple(
                tuple(connection.execute(sa.select(table)).all()) for table in (accounts, journal)
            )

    def undone(self) -> int:
        with self.engine.connect() as connection:
            query = sa.select(sa.func.count()).where(sa.not_(journal.c.done))
            return connection.scalar(query.select_from(journal)) or 0

    def check_end(self) -> None:
        """The end state, whatever happened on the way."""
        state = self.denylist.state()
        assert state.ready
        assert self.undone() == 0
        assert list(self.families.versions()) == []
        with self.engine.connect() as connection:
            (account,) = connection.execute(sa.select(accounts)).all()
            epoch = connection.execute(
                sa.select(journal).where(journal.c.kind == "epoch").order_by(journal.c.id.desc())
            ).first()
        assert epoch is not None
        assert epoch.level == state.watermark
        assert account.credential_version == account.sub_ver > epoch.created
        assert self.old_kids.isdisjoint(self.kids())
        assert self.kids()
        assert self.old_kids
        for kid in self.old_kids:
            assert self.denylist.lookup(_probe_of_key(state, kid)) is Kind.KEY
        assert self.denylist.lookup(_probe_of_key(state, "another")) is None

    def close(self) -> None:
        self.families.close()
        self.denylist.close()
        self.engine.dispose()


def _probe_of_key(state: DenylistState, kid: str) -> Probe:
    """A token that nothing but its key can refuse."""
    keys = (
        b"t" + bytes(16),
        b"s" + bytes(16),
        b"u" + bytes(16),
        record_key(Kind.KEY, kid, state.salt),
    )
    return Probe.of_keys(state.salt, keys, 1 << 50, state.watermark + 1)


@pytest.fixture
def stack(gatepass: Gatepass, tmp_path: Path, redis_url: str) -> Iterator[Stack]:
    made = Stack(gatepass, tmp_path, redis_url)
    yield made
    made.close()


def test_every_step_has_a_crash_point() -> None:
    """Those that these tests kill it at are all there are, in their order."""
    assert POINTS == [
        "restore.made_safe",
        "restore.committed",
        "restore.ring_checked",
        "restore.announced",
        "restore.replaced",
        "restore.cleared",
        "restore.filled",
        "restore.completed",
    ]


@pytest.mark.parametrize(
    ("mode", "point"),
    [*(("file", point) for point in POINTS), ("in-place", POINTS[0]), ("in-place", POINTS[1])],
)
def test_killed_and_run_again(stack: Stack, point: str, mode: str) -> None:
    """Before the commit nothing has changed; after it the same command completes what is left."""
    command = ["restore", "--yes"]
    if mode == "file":
        stack.empty()
        command.append(str(stack.file))
    else:
        command.append("--in-place")
    before = stack.rows()
    assert stack(*command, die_at=point).code == -9
    if point == "restore.made_safe":
        assert stack.rows() == before
    elif point != "restore.completed":
        assert stack.undone() >= 1
    done = stack(*command)
    if point == "restore.completed" and mode == "file":
        done.refused(1)  # there is nothing left to do, and rows are replaced on request only
    else:
        done.done()
    stack.check_end()


@pytest.mark.parametrize("point", AFTER_COMMIT)
def test_killed_and_the_journal_is_carried_on(stack: Stack, point: str) -> None:
    """Whoever carries the journal on completes what counts: the epoch stands."""
    assert stack("restore", "--in-place", "--yes", die_at=point).code == -9
    stack("journal", "complete").done()
    assert stack.undone() == 0
    with stack.engine.connect() as connection:
        level = connection.scalar(
            sa.select(sa.func.max(journal.c.level)).where(journal.c.kind == "epoch")
        )
        version = connection.scalar(sa.select(accounts.c.credential_version))
    assert stack.denylist.state().watermark == level
    assert level
    assert version is not None
    assert version > SUB_VER
