"""An issuer dies, and the audit log has what it had done all the same; once."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress

import pytest
import sqlalchemy as sa
from harness.crash_operations import Scene, add_account, crash_settings
from harness.crash_world import CrashWorld
from harness.issuer_app import PASSWORD
from harness.processes import until

from issuer.audit import Event, EventKind
from issuer.audit.addresses import treatment
from issuer.audit.chain import ChainKeys
from issuer.audit.log import AuditLog
from issuer.audit.verifying import verify
from issuer.crash_points import CrashPoint as At
from issuer.database import open_engine
from issuer.database.tables import audit_log

SECRET = "zinc ferry 20 plover anvil"
PATIENCE = 60.0


@pytest.fixture(scope="module")
def world(make_world: Callable[..., AbstractContextManager[CrashWorld]]) -> Iterator[CrashWorld]:
    """An issuer to kill."""
    assert "audit" not in crash_settings()
    with make_world(audit={"secret": SECRET}) as running:
        yield running


def about(world: CrashWorld, scene: Scene) -> list[Event]:
    """What the log tells of a person."""
    engine = open_engine(world.database_url)
    keys = ChainKeys(SECRET)
    try:
        log = AuditLog(engine, keys, treatment("full", keys.current))
        found = [one.event for one in log.after(0, 100_000)]
        assert verify(engine, keys).problems == []
    finally:
        engine.dispose()
    return [event for event in found if event.sub == scene.account.id]


def _login(scene: Scene) -> None:
    scene.login()


def _refresh(scene: Scene) -> None:
    scene.grants["first"] = scene.login().granted()
    scene.refresh()


def _wrong_password(scene: Scene) -> None:
    scene.login(PASSWORD + "x")


def _logout(scene: Scene) -> None:
    scene.grants["first"] = scene.login().granted()
    scene.stage.ask("POST", "/logout", {"refresh_token": scene.token()})


DEATHS = [
    (_login, At.LOGIN_FAMILY_MADE, ["account_added", "login", "session_started"]),
    (_login, At.GRANT_MINTING, ["account_added", "login", "session_started"]),
    (_login, At.AUDIT_APPENDED, ["account_added", "login", "session_started"]),
    (_wrong_password, At.AUDIT_PENDED, ["account_added", "login"]),
    (
        _refresh,
        At.REFRESH_ROTATED,
        ["account_added", "login", "session_refreshed", "session_started"],
    ),
    (
        _logout,
        At.REVOCATION_JOURNALLED,
        ["account_added", "login", "session_ended", "session_started"],
    ),
]


@pytest.mark.parametrize(
    ("operation", "point", "kinds"), DEATHS, ids=[f"{o.__name__[1:]} at {p}" for o, p, _ in DEATHS]
)
def test_no_event_dies_with_its_process(
    world: CrashWorld, operation: Callable[[Scene], None], point: At, kinds: list[str]
) -> None:
    """Left in the outbox or beside the session, found by the next issuer, written down once."""
    scene = Scene(world, add_account(world.database_url), "demo")
    for _ in until(PATIENCE, "the account in the log: it is not the event to die with", pause=0.1):
        if about(world, scene):
            break
    world.arm(point, "serve")
    with suppress(OSError, http.client.HTTPException):
        operation(scene)
    world.is_killed()
    world.start()
    for _ in until(PATIENCE, f"events {kinds}", pause=0.5):
        found = sorted(event.kind.value for event in about(world, scene))
        if found == kinds:
            break
        assert len(found) <= len(kinds), found
    assert len({event.id for event in about(world, scene)}) == len(kinds)


def test_an_erasure_that_died_is_done_by_asking_again(world: CrashWorld) -> None:
    """The log said what would be taken out and still had it, so it verified all the while."""
    scene = Scene(world, add_account(world.database_url), "demo")
    scene.login()
    for _ in until(PATIENCE, "the login in the log", pause=0.1):
        if len(about(world, scene)) == 3:
            break
    before = redactions(world)
    erase = ("audit", "person", "erase", scene.account.username, "--yes")
    world.arm(At.AUDIT_REDACTION_NOTED, "command")
    assert world.command(*erase).code == -signal.SIGKILL
    assert len(about(world, scene)) == 3
    assert redactions(world) == before + 1
    assert world.command(*erase).code == 0
    assert about(world, scene) == []
    assert redactions(world) > before + 1


def redactions(world: CrashWorld) -> int:
    """How often the log says that something was taken out of it."""
    engine = open_engine(world.database_url)
    try:
        wanted = sa.select(sa.func.count()).where(audit_log.c.kind == EventKind.REDACTED.value)
        with engine.connect() as connection:
            return int(connection.scalar(wanted) or 0)
    finally:
        engine.dispose()
