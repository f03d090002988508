"""`gatepass backup` and `restore` beside real issuers: what was handed out before works no more."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from harness.gatepass_command import Completed, Gatepass
from harness.issuer_app import migrated_sqlite
from harness.issuer_process import IssuerFleet, IssuerProcess
from harness.processes import until
from harness.redis_server import RedisServer
from harness.running_demo import BOUND

from gateway import Refusable, Verifier
from issuer.accounts import PasswordHasher, PasswordPolicy, SqlAccounts
from issuer.database import open_engine
from revocation import ReplicaStale
from tokens import UnknownKid
from tokens.compact import parse_header

FIRST = "seven violet otters juggle 91"
SECOND = "an unlikely brass kettle 4417"
CHANGES = 3

Tell = Callable[..., Completed]


@dataclass
class Handed:
    """What the issuer has handed out, and to whom."""

    issuer: Any
    access: list[str] = field(default_factory=list)
    refresh: list[str] = field(default_factory=list)

    def take(self, granted: dict[str, Any]) -> dict[str, Any]:
        self.access.append(granted["access_token"])
        self.refresh.append(granted["refresh_token"])
        return granted

    def login(self, password: str) -> dict[str, Any]:
        return self.take(self.issuer.login("alice", password).granted())


@pytest.fixture(params=["file", "volume"])
def fleet(
    request: pytest.FixtureRequest, private_redis: RedisServer, tmp_path: Path
) -> Iterator[IssuerFleet]:
    """An issuer on PostgreSQL with its ring there, or on SQLite with its ring in a directory."""
    settings = {"GATEPASS_ISSUER_SKEW": "1"}
    if request.param == "file":
        url: str = request.getfixturevalue("postgres_url")
        settings |= {
            "GATEPASS_KEY_STORE": "database",
            "GATEPASS_KEYS_SECRET": "nineteen pewter saucers 5512, and a long one",
        }
    else:
        url = f"sqlite:///{migrated_sqlite(tmp_path / 'issuer.db')}"
    options: dict[str, Any] = {"size": 1, "shifted": True, "settings": settings}
    with IssuerFleet(url, private_redis.unix_url, tmp_path / "fleet", **options) as running:
        running.add_account("alice", FIRST)
        yield running


@pytest.fixture
def tell(gatepass: Gatepass, fleet: IssuerFleet) -> Tell:
    """Runs a command with the issuer's own settings."""
    env = {
        name: value
        for name, value in fleet.issuers[0].process.env.items()
        if name.startswith("GATEPASS_")
    }
    return lambda *arguments: gatepass(*arguments, env=env)


def request_reset(fleet: IssuerFleet) -> str:
    """A reset token, as a mail would bring it."""
    engine = open_engine(fleet.database_url)
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, concurrency=1)
    try:
        made = SqlAccounts(engine, hasher, PasswordPolicy(15), fleet.now).request_reset("alice")
    finally:
        engine.dispose()
    assert made is not None
    return made[1]


def copy_database(source: str, target: Path) -> None:
    """What a snapshot of the volume has."""
    with (
        closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)


def kid_of(token: str) -> str:
    return str(parse_header(token.partition(".")[0].encode())["kid"])


def refuses_all(verifier: Verifier, tokens: list[str]) -> None:
    """A gateway lets none of them through, for whatever reason."""
    for token in tokens:
        with pytest.raises(Refusable):
            verifier.verify(token)


def refused_soon(verifier: Verifier, token: str) -> None:
    """Within the bound that holds for every revocation."""
    for _ in until(BOUND, "the refusal of an older token", pause=0.001):
        try:
            verifier.verify(token)
        except Refusable:
            return


def wait_until_let_through(verifier: Verifier, good: str, old: list[str]) -> None:
    """The gateway comes back into step with the new epoch, and lets nothing old through."""
    for _ in until(60, "a new token to be let through"):
        refuses_all(verifier, old)
        try:
            verifier.verify(good)
        except (ReplicaStale, UnknownKid):
            # It is not in step yet; and asks for keys at most every ten seconds.
            continue
        return


def login_under_another_key(issuer: IssuerProcess, withdrawn: set[str]) -> str:
    """An access token: an issuer that has run on reads the new ring every few seconds."""
    for _ in until(30, "the new ring", pause=0.2):
        token = str(issuer.login("alice", FIRST).granted()["access_token"])
        if kid_of(token) not in withdrawn:
            break
    return token


def test_end_to_end(fleet: IssuerFleet, tell: Tell, tmp_path: Path) -> None:
    """Passwords, logout, a revoked token and key, a spent reset: none comes back with the rows.

    A real gateway refuses every older access token at once and for its whole life; no older
    refresh token works, not even after as many password changes as lead back to its number; new
    logins work at once.
    """
    by_file = fleet.database_url.startswith("postgresql")
    (issuer,) = fleet.issuers
    path = tmp_path / "backup"
    handed = Handed(issuer)
    with ExitStack() as stack:
        verifier = stack.enter_context(fleet.verifier())
        # Both histories have these.
        handed.login(FIRST)
        handed.login(FIRST)
        reset = request_reset(fleet)
        if by_file:
            told = tell("backup", str(path), "--json").done().json
            assert told["rows"]["accounts"] == 1
        else:
            copy_database(fleet.database_url, path)
        # And these are lost.
        body = {"token": reset, "new_password": SECOND}
        assert issuer.ask("/password/reset", body).status == 200
        old, new = SECOND, FIRST
        for _ in range(CHANGES):
            access = handed.login(old)["access_token"]
            handed.take(issuer.change_password(access, old, new).granted())
            old, new = new, old
        gone = handed.login(old)
        assert issuer.ask("/logout", {"refresh_token": gone["refresh_token"]}).status == 200
        revoked = handed.login(old)
        assert tell("revoke", "token", revoked["access_token"]).code == 0
        kid = kid_of(revoked["access_token"])
        assert tell("revoke", "key", "--", kid).code == 0
        handed.login(old)
        # Back in time.
        if by_file:
            report = tell("restore", str(path), "--replace", "--yes", "--json").done().json
        else:
            fleet.stop()
            for leftover in ("-wal", "-shm"):
                Path(fleet.database_url.removeprefix("sqlite:///") + leftover).unlink(
                    missing_ok=True
                )
            shutil.copy(path, fleet.database_url.removeprefix("sqlite:///"))
            report = tell("restore", "--in-place", "--yes", "--json").done().json
            issuer.process.start()
            issuer.wait_ready()
        events = tell("audit", "search", "--event", "operated", "--json").done().json["events"]
        (told,) = (event for event in events if event["why"] == "restore")
        assert told["details"] == {"in_place": not by_file}
        assert report["changed"] == ["alice"]
        assert report["completed"]
        for token in handed.access:
            refused_soon(verifier, token)
        # A ring in the database is made anew; one in a directory only loses the revoked key.
        withdrawn = {kid_of(token) for token in handed.access} if by_file else {kid}
        good = login_under_another_key(issuer, withdrawn)
        wait_until_let_through(verifier, good, handed.access)
        assert issuer.login("alice", SECOND).status == 400
        assert issuer.ask("/password/reset", body).status == 400
        for _ in range(2 * CHANGES):
            for token in handed.refresh:
                assert issuer.refresh(token).status == 400
            assert tell("revoke", "subject", "alice").code == 0
        for _ in range(4):
            fleet.advance(90)
            good = login_under_another_key(issuer, withdrawn)
            wait_until_let_through(verifier, good, handed.access)
