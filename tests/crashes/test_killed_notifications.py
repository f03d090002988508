"""An issuer that is killed between any two steps of telling a receiver loses nothing."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from harness.crash_operations import crash_settings
from harness.crash_world import LiveIssuer, Scene, add_account
from harness.gatepass_command import Gatepass
from harness.issuer_app import CHEAP_HASHING, SECRET, IssuerApp, basic
from harness.notified import deliver, event, states, tell
from harness.processes import free_port, short_directory, until
from harness.receivers import WEBHOOK_SECRET, Receiver
from harness.redis_server import RedisServer

from issuer.audit import Event, EventKind
from issuer.crash_points import CrashPoint, watch
from issuer.database import open_engine
from issuer.database.tables import audit_log, audit_places, deliveries
from issuer.notifications.delivery import Delivery
from issuer.notifications.queue import DeliveryQueue

HASHED = hashlib.sha256(SECRET.encode()).hexdigest()
POINTS = [point for point in CrashPoint if point.startswith("notifications.")]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Of webhooks."""
    with Receiver() as one:
        yield one


@pytest.fixture(scope="module")
def issuer(gatepass: Gatepass, empty_database: Path, receiver: Receiver) -> Iterator[LiveIssuer]:
    """A real one that tells it of sessions' ends."""
    directory = short_directory("gp-notify-")
    port = free_port()
    hook = {"url": receiver.url, "secret": WEBHOOK_SECRET, "events": ["session_ended"]}
    with RedisServer() as redis:
        settings = {
            "issuer": f"http://127.0.0.1:{port}",
            "mode": "development",
            "database_url": f"sqlite:///{shutil.copy(empty_database, directory / 'issuer.db')}",
            "redis_url": redis.unix_url,
            "keys_dir": str(directory / "keys"),
            "workers": 1,
            "hashing": CHEAP_HASHING,
            "log_level": "WARNING",
            "notifications": {
                "attempt_timeout": 5,
                "webhooks": {"siem": hook},
                "signals": {"watcher": {"audience": "watch", "secret_sha256": HASHED}},
                "poll_wait": 50,
            },
            **crash_settings(),
        }
        with LiveIssuer(gatepass, directory, settings, port=port) as running:
            yield running
    shutil.rmtree(directory)


def let_leases_run_out(database_url: str) -> None:
    """Those of whoever has died, on the log and on a delivery, without waiting for it."""
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.execute(sa.update(audit_places).values(held_until=0))
        connection.execute(
            sa.update(deliveries).where(deliveries.c.state == "waiting").values(due=0)
        )
    engine.dispose()


def acknowledge_all(database_url: str) -> None:
    """Leave nothing on the stream of whoever polls."""
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.execute(sa.update(deliveries).values(state="delivered"))
    engine.dispose()


@pytest.mark.parametrize("point", POINTS)
def test_a_death_loses_no_notification(
    issuer: LiveIssuer, receiver: Receiver, point: CrashPoint
) -> None:
    """Of a session that was ended: heard at least once, always under the same id."""
    scene = Scene(issuer, add_account(issuer.database_url), "demo")
    scene.grants["first"] = scene.login().granted()
    receiver.requests.clear()
    issuer.arm(point, "serve")
    with contextlib.suppress(OSError, http.client.HTTPException):
        issuer.ask("POST", "/logout", {"refresh_token": scene.token()})
    issuer.is_killed()
    heard = len(receiver.requests)
    assert heard == (1 if point in {"notifications.sent", "notifications.noted"} else 0)
    let_leases_run_out(issuer.database_url)
    issuer.start()
    if point is not CrashPoint.NOTIFICATION_NOTED:
        receiver.wait_for(heard + 1)
    assert {request.json["data"]["sid"] for request in receiver.requests} == {scene.sid()}
    assert len(set(receiver.ids())) == 1
    engine = open_engine(issuer.database_url)
    for _ in until(20, "a delivery that is noted"):
        with engine.connect() as connection:
            mine = sa.select(deliveries.c.state).where(deliveries.c.target == "webhook:siem")
            if set(connection.scalars(mine)) == {"delivered"}:
                break
    engine.dispose()


def dealt_with(database_url: str, sub: str) -> set[str]:
    """Events about a person that whoever follows the audit log has dealt with, by its place."""
    engine = open_engine(database_url)
    try:
        with engine.connect() as connection:
            followers = sa.select(audit_places.c.seq).where(audit_places.c.name != "keeper")
            place = min(connection.scalars(followers))
            mine = sa.select(audit_log.c.kind).where(
                audit_log.c.sub == sub, audit_log.c.seq <= place
            )
            return set(connection.scalars(mine))
    finally:
        engine.dispose()


def test_an_event_that_comes_again_after_a_death_is_told_once(
    issuer: LiveIssuer, receiver: Receiver
) -> None:
    """The follower has dealt with it, its place does not say so: it is queued under the same id."""
    scene = Scene(issuer, add_account(issuer.database_url), "demo")
    scene.grants["first"] = scene.login().granted()
    begun = {"account_added", "login", "session_started"}
    for _ in until(60, "a follower that has dealt with the login", pause=0.05):
        if dealt_with(issuer.database_url, scene.account.id) == begun:
            break
    receiver.requests.clear()
    issuer.arm(CrashPoint.AUDIT_CONSUMED, "serve")
    with contextlib.suppress(OSError, http.client.HTTPException):
        issuer.ask("POST", "/logout", {"refresh_token": scene.token()})
    issuer.is_killed()
    assert dealt_with(issuer.database_url, scene.account.id) == begun
    let_leases_run_out(issuer.database_url)
    issuer.start()
    for _ in until(60, "a follower that has dealt with it again", pause=0.05):
        if dealt_with(issuer.database_url, scene.account.id) == begun | {"session_ended"}:
            break
    receiver.wait_for(1)
    assert {request.json["data"]["sid"] for request in receiver.requests} == {scene.sid()}
    assert len(set(receiver.ids())) == 1
    engine = open_engine(issuer.database_url)
    try:
        with engine.connect() as connection:
            mine = sa.select(deliveries.c.id).where(
                deliveries.c.target == "webhook:siem", deliveries.c.sub == scene.account.id
            )
            assert len(connection.scalars(mine).all()) == 1
    finally:
        engine.dispose()


def test_a_stop_answers_a_poll_that_waits(issuer: LiveIssuer) -> None:
    """At once and with nothing, so that no stop or reload waits for it; others are served."""
    scene = Scene(issuer, add_account(issuer.database_url), "demo")
    scene.login().granted()
    polling = http.client.HTTPConnection("127.0.0.1", issuer.settings["port"], timeout=30)
    with contextlib.closing(polling):
        headers = {**basic("watcher"), "Content-Type": "application/json"}
        acknowledge_all(issuer.database_url)
        polling.request("POST", "/ssf/poll", b"{}", headers)
        scene.login().granted()
        issuer.running().signal(signal.SIGTERM)
        with polling.getresponse() as answer:
            assert answer.status == 200
            assert json.loads(answer.read()) == {"sets": {}, "moreAvailable": False}
    assert issuer.running().completed().code == 0
    issuer.start()


class Died(BaseException):
    """What a process does at a crash point, in a test that goes on."""


def tell_and_deliver(issuer: IssuerApp, happened: Event) -> None:
    """What the issuer's threads do with an event."""
    tell(issuer, happened)
    deliver(issuer)


def heard_after_a_death(issuer: IssuerApp, receiver: Receiver) -> int:
    """How often a receiver hears of an event whose issuer dies with an attempt counted only."""

    def die(at: CrashPoint) -> None:
        if at is CrashPoint.NOTIFICATION_LEASED:
            watch()
            raise Died

    receiver.requests.clear()
    watch(die)
    try:
        with pytest.raises(Died):
            tell_and_deliver(issuer, event(issuer, EventKind.SESSION_ENDED, sid="s" * 22))
    finally:
        watch()
    issuer.clock.advance(3600)
    deliver(issuer)
    assert {state for _, state, _, _ in states(issuer)} == {"delivered"}
    return len(receiver.requests)


def test_one_that_notes_before_it_sends_is_found(
    tmp_path: Path, empty_database: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutant: dying with an attempt counted and not made then loses it."""
    hooks = {"siem": {"url": receiver.url, "secret": WEBHOOK_SECRET}}
    database = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'issuer.db')}"
    with IssuerApp.build(
        database, "memory://notified", tmp_path, notifications={"webhooks": hooks}
    ) as issuer:
        assert heard_after_a_death(issuer, receiver) == 1
        take = DeliveryQueue.lease

        def take_and_note(self: DeliveryQueue, target: str, seconds: float) -> Delivery | None:
            delivery = take(self, target, seconds)
            if delivery is not None:
                self.delivered(delivery)
            return delivery

        monkeypatch.setattr(DeliveryQueue, "lease", take_and_note)
        assert heard_after_a_death(issuer, receiver) == 0
