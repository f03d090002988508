"""A disk is full, the database's or Redis': what is not kept is not acknowledged."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from harness.fault_deployment import Deployment
from harness.fault_watch import Watch
from harness.gatepass_command import Gatepass
from harness.issuer_app import IssuerApp, granted, migrated_sqlite
from harness.limits import OFF
from harness.postgres_server import PostgresServer, server_user
from harness.processes import until
from harness.redis_server import RedisServer
from harness.small_disk import SmallDisk
from psycopg import sql

from revocation import DenylistUnavailable


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    """An empty file system for a database."""
    with SmallDisk(32, owner=server_user()) as mounted:
        yield mounted


@pytest.fixture(params=["postgresql", "sqlite"])
def database_url(
    request: pytest.FixtureRequest, disk: SmallDisk, postgres_server: PostgresServer
) -> Iterator[str]:
    """A database on the small disk; of PostgreSQL, everything but its write-ahead log."""
    if request.param == "sqlite":
        yield f"sqlite:///{disk.path}/issuer.db"
        return
    space = sql.Identifier(f"small_{secrets.token_hex(4)}")
    with postgres_server.connect() as connection:
        connection.execute(
            sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(space, str(disk.path))
        )
        url = postgres_server.create_database()
        name = sql.Identifier(url.rpartition("/")[2])
        connection.execute(sql.SQL("ALTER DATABASE {} SET TABLESPACE {}").format(name, space))
        yield url
        postgres_server.drop_database(url)
        connection.execute(sql.SQL("DROP TABLESPACE {}").format(space))


ROUNDS = 300
"""Logouts at most until a full disk shows: a database has some room within its own files."""
ROUNDS_OF_SQLITE = 30
"""Of SQLite, which has none to speak of: its first or second is refused."""


def fill_up(deployment: Deployment, disk: SmallDisk, rounds: int = ROUNDS) -> None:
    """The disk fills, and has room again, under a scenario."""
    scenario = deployment.scenario()
    with Watch(scenario) as watch:
        before = [scenario.log_in("full", at=at) for at in range(2)]
        disk.fill()
        for at in range(rounds):
            session = scenario.log_in_again(before[0], at=at)
            answer = scenario.end(session, at=at)
            if answer.status != 200:
                break
        assert (answer.status, answer.retry_after) == (503, "1"), answer
        refused = [session]
        for at, session in enumerate(before):
            answer = scenario.end(session, at=at)
            # PostgreSQL may have cleared a page meanwhile: what it took there must stay, too.
            if answer.status != 200:
                assert (answer.status, answer.retry_after) == (503, "1"), answer
                refused.append(session)
        watch.gateways_go_on()
        disk.free()
        for at, session in enumerate(refused):
            for _ in until(10, "an acknowledgement", pause=0.1):
                if scenario.end(session, at=at).status == 200:
                    break
        watch.passes()


def test_a_full_disk_is_503_and_mends_by_itself(
    database_url: str, disk: SmallDisk, gatepass: Gatepass, tmp_path: Path
) -> None:
    """Nothing acknowledged is lost, gateways never stop, and with room everything goes on."""
    with Deployment(gatepass, database_url, tmp_path / "fleet") as deployment:
        fill_up(deployment, disk)


def test_a_full_disk_shows_who_acknowledges_what_was_not_written(
    disk: SmallDisk, gatepass: Gatepass, tmp_path: Path
) -> None:
    """Issuers that go on without the journal are found out."""
    url = f"sqlite:///{disk.path}/issuer.db"
    with (
        Deployment(gatepass, url, tmp_path / "fleet", "deaf-journal") as altered,
        pytest.raises(AssertionError, match="status=200"),
    ):
        fill_up(altered, disk, ROUNDS_OF_SQLITE)


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_a_full_disk_of_redis_is_503_and_mends(fsync: str, tmp_path: Path) -> None:
    """Redis refuses to write, or ends itself; with room, and started again, all goes on."""
    database = f"sqlite:///{migrated_sqlite(tmp_path / 'issuer.db')}"
    with (
        SmallDisk(8) as disk,
        RedisServer(config={"dir": str(disk.path), "appendfsync": fsync}) as store,
        IssuerApp.build(database, store.unix_url, tmp_path, limits=OFF) as issuer,
    ):
        ended, leaving, staying = (issuer.grant()["refresh_token"] for _ in range(3))
        granted(issuer.logout(ended))
        disk.fill()
        for _ in until(10, "a login to be refused"):
            answer = issuer.login()
            if answer.status_code != 200:
                break
        for refused in (answer, issuer.refresh(staying), issuer.logout(leaving)):
            assert (refused.status_code, refused.headers.get("Retry-After")) == (503, "1")
        disk.free()
        assert store.process.running is (fsync == "everysec")
        if fsync == "always":
            store.start()
        pulse = issuer.make_pulse()
        for _ in until(10, "a logout"):
            with suppress(DenylistUnavailable):
                pulse.beat()
            if issuer.logout(leaving).status_code == 200:
                break
        granted(issuer.refresh(staying))
        assert [issuer.refresh(token).status_code for token in (ended, leaving)] == [400, 400]
