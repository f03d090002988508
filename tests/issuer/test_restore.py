"""A database that goes back in time, made safe: nothing that was handed out before works again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from harness import stacks
from harness.issuer_app import NEW_PASSWORD, PASSWORD, USERNAME, IssuerApp, granted
from harness.lost_time import CHANGES, LostTime

from issuer import crash_points, restoring
from issuer.backup import BackupError, BackupFile
from issuer.crash_points import watch
from issuer.database.tables import metadata
from issuer.families import FamilyUnavailable
from issuer.restoring import restore
from issuer.sessions.grant import grant
from keys import KeyStoreError
from revocation import DenylistUnavailable, Entry, Kind

SECRET = "a passphrase of the ring, and a long one"
MODES = ("file", "in-place")
RINGS: dict[str, dict[str, Any]] = {
    "directory": {},
    "database": {"key_store": "database", "keys_secret": SECRET},
}


@pytest.fixture(autouse=True)
def _unwatched() -> Iterator[None]:
    yield
    watch(crash_points._pass_by)


@pytest.fixture(params=RINGS)
def ring(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def lost(make_issuer: Callable[..., IssuerApp], ring: str, tmp_path: Path) -> LostTime:
    """An issuer that has lived on after its backup."""
    lost = LostTime(make_issuer(**RINGS[ring]), tmp_path / "backup")
    lost.begin()
    lost.go_on()
    return lost


def held_in_full(mode: str, ring: str) -> set[str]:
    """What nothing of ours can tell: a key revoked in a journal that is gone, not in the ring.

    Replicas keep the entry through the change of epoch, and the JWKS does not have the key.
    """
    return {"stolen key"} if (mode, ring) == ("in-place", "directory") else set()


@pytest.mark.parametrize("without_redis", [False, True], ids=["redis", "without-redis"])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_of_before_works_again(
    lost: LostTime, ring: str, mode: str, without_redis: bool
) -> None:
    """No access token for its whole life, no refresh, no spent reset token, no revoked key.

    Also where Redis is left to the issuer that beats next.
    """
    lost.restore(mode, without_redis=without_redis)
    allowed = held_in_full(mode, ring) if not without_redis else set()
    assert lost.violations() == allowed


@pytest.mark.parametrize("mode", MODES)
def test_new_logins_work(lost: LostTime, mode: str) -> None:
    """With the password of then; their tokens are good once the watermark has passed."""
    report = lost.restore(mode)
    issuer = lost.issuer
    lost.start_issuer()
    assert report.watermark == int(issuer.clock()) + 5
    issuer.clock.advance_to(report.watermark + 1)
    assert issuer.login(password=NEW_PASSWORD).status_code == 400
    grant = issuer.grant()
    assert lost.accepts(grant["access_token"])
    assert granted(issuer.sessions(grant["access_token"]))
    assert lost.accepts(granted(issuer.refresh(grant["refresh_token"]))["access_token"])
    assert not any(lost.accepts(token) for token in lost.access)


def _nothing(*_arguments: Any) -> None:
    """A step left out."""


def _by_one(connection: sa.Connection, _seen: int) -> None:
    accounts = metadata.tables["accounts"]
    raised = {name: accounts.c[name] + 1 for name in ("credential_version", "sub_ver")}
    connection.execute(sa.update(accounts).values(**raised))


def _without_time(connection: sa.Connection, _seen: int) -> None:
    accounts = metadata.tables["accounts"]
    highest = restoring._highest(connection) + 1
    connection.execute(sa.update(accounts).values(credential_version=highest, sub_ver=highest))


Mutant = tuple[str, Callable[..., Any], str, str, bool, str]
MUTANTS: dict[str, Mutant] = {
    # step, what it does instead, mode, ring, without Redis, what works again
    "versions by one": ("raise_versions", _by_one, "in-place", "directory", True, "refresh"),
    "no time": ("raise_versions", _without_time, "in-place", "directory", True, "refresh"),
    "no versions": ("raise_versions", _nothing, "in-place", "directory", True, "refresh"),
    "resets kept": ("forget_resets", _nothing, "in-place", "directory", False, "reset"),
    "no epoch": ("declare_epoch", _nothing, "in-place", "directory", True, "access"),
    "ring kept": ("replace_ring", _nothing, "in-place", "database", False, "stolen key"),
    "keys forgotten": ("keep_revoked", _nothing, "file", "directory", False, "stolen key"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_each_step_is_needed(
    make_issuer: Callable[..., IssuerApp],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mutant: str,
) -> None:
    """Without any one of them, something of before works again, and is seen to."""
    step, instead, mode, ring, without_redis, works = MUTANTS[mutant]
    monkeypatch.setattr(restoring, step, instead)
    lost = LostTime(make_issuer(**RINGS[ring]), tmp_path / "backup")
    lost.begin()
    lost.go_on()
    lost.restore(mode, without_redis=without_redis)
    assert works in lost.violations()


@pytest.mark.parametrize("ring", ["directory"], indirect=True)
@pytest.mark.parametrize("mutant", [False, True], ids=["", "mutant"])
def test_an_issuer_that_read_before_the_commit(
    lost: LostTime, monkeypatch: pytest.MonkeyPatch, mutant: bool
) -> None:
    """What it signs after the first watermark, from the older row, is refused too."""
    issuer, services = lost.issuer, lost.issuer.services
    late: list[str] = []
    if mutant:
        monkeypatch.setattr(
            restoring,
            "raise_epoch",
            lambda _engine, settings, now: (restoring._epoch(settings, "", now - 20).level, now),
        )
    (family, *_) = services.families.of_subject(issuer.account.id)
    read = services.accounts.by_id(issuer.account.id)
    assert read is not None

    def visit(name: str) -> None:
        if name == "restore.made_safe":
            issuer.clock.advance(20)
            late.append(grant(services, family, read, services.clock()).access_token)

    lost.put_back()
    watch(visit)
    restore(services.settings, None, clock=services.clock)
    lost.start_issuer()
    assert lost.accepts(late[0]) is mutant
