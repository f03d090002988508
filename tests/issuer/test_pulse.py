"""What an issuer does by itself: heartbeats, filling a lost denylist, housekeeping."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest
from harness import stacks
from harness.issuer_app import IssuerApp, granted, redis_dump, refused, restore_redis
from harness.processes import until
from harness.redis_server import RedisServer
from structlog.testing import capture_logs

from issuer.database import DatabaseUnavailable
from issuer.journal import Reason
from revocation import ClocksApart, DenylistUnavailable, Entry, HeartbeatLate, Position


@stacks.on_redis
def test_a_lost_denylist_is_filled_from_the_journal(
    issuer: IssuerApp, redis_server: RedisServer
) -> None:
    """After FLUSHALL a beat makes a new epoch in which everything in force is refused again."""
    revoked, ended, changed = issuer.grant(), issuer.grant(), issuer.grant()
    granted(issuer.revoke(revoked["access_token"]))
    granted(issuer.logout(ended["refresh_token"]))
    new = granted(issuer.change_password(changed["access_token"]))
    before = issuer.services.denylist.state()
    redis_server.client().flushall()
    issuer.services.pulse.beat()
    after = issuer.services.denylist.state()
    assert after.position.epoch != before.position.epoch
    assert after.ready
    # The journal alone says so: the versions and ends in SQL are not asked here.
    from issuer.sessions.bearer import refused_by_denylist

    services = issuer.services
    kinds = [
        refused_by_denylist(services, *services.verifier.verify_with_key(grant["access_token"]))
        for grant in (revoked, ended, changed, new)
    ]
    assert kinds == ["token", "session", "subject", None]
    # Families are not in the journal: whoever was logged in logs in again.
    refused(issuer.refresh(new["refresh_token"]), 400, "invalid_grant")
    assert granted(issuer.sessions(new["access_token"]))


@stacks.on_redis
def test_a_session_that_was_ended_stays_ended_in_a_redis_from_the_past(
    issuer: IssuerApp,
) -> None:
    """A Redis that lost the last writes brings back neither an ended session nor its tokens."""
    ended, alive = issuer.grant(), issuer.grant()
    past = redis_dump(issuer.services)
    granted(issuer.logout(ended["refresh_token"]))
    issuer.clock.advance(2)
    issuer.services.pulse.beat()
    restore_redis(issuer.services, past)
    refused(issuer.refresh(ended["refresh_token"]), 400, "invalid_grant")
    for grant in (ended, alive):
        # Until the journal has been replayed, nobody is told that a token is good.
        refused(issuer.sessions(grant["access_token"]), 503, "temporarily_unavailable")
    issuer.services.pulse.beat()
    refused(issuer.sessions(ended["access_token"]), 401, "invalid_token")
    sessions = granted(issuer.sessions(alive["access_token"]))["sessions"]
    assert [session["sid"] for session in sessions] == [alive["session"]["sid"]]
    assert granted(issuer.refresh(alive["refresh_token"]))


@stacks.on_redis
def test_what_expired_by_a_clock_that_was_ahead_is_filled_in_again(
    issuer: IssuerApp, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis' clock jumps by hours and is put back: what it has dropped is refused again."""
    services = issuer.services
    token = issuer.grant()["access_token"]
    granted(issuer.revoke(token))
    services.pulse.beat()
    right = services.denylist._clock  # type: ignore[attr-defined]
    monkeypatch.setattr(services.denylist, "_clock", lambda: right() + 7200)
    with pytest.raises(ClocksApart):
        services.pulse.beat()
    # This server's own clock stands right, so that it has dropped nothing by itself.
    client = redis_server.client()
    for key in client.scan_iter("*{denylist}:[0-9]*"):
        client.delete(key)
    monkeypatch.undo()
    services.pulse.beat()
    from issuer.sessions.bearer import refused_by_denylist

    assert refused_by_denylist(services, *services.verifier.verify_with_key(token)) == "token"


@stacks.on_redis
@pytest.mark.parametrize("ahead", [3600.0, -3600.0], ids=["Redis ahead", "the issuer ahead"])
def test_clocks_that_are_apart_mint_no_token(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    """One that is dated ahead would outlive its entry. What is revoked stands, and is told so."""
    services = issuer.services
    session, other = issuer.grant(), issuer.grant()
    services.pulse.beat()
    right = services.denylist._clock  # type: ignore[attr-defined]
    monkeypatch.setattr(services.denylist, "_clock", lambda: right() + ahead)
    with suppress(ClocksApart):
        services.pulse.beat()
    before = issuer.rows("accounts")
    for answer in (
        issuer.login(),
        issuer.refresh(session["refresh_token"]),
        issuer.change_password(session["access_token"]),
    ):
        refused(answer, 503, "temporarily_unavailable")
    assert issuer.rows("accounts") == before
    ended = issuer.logout(other["refresh_token"])
    if ahead > 0:
        refused(ended, 503, "temporarily_unavailable")
        assert issuer.undone() == ["logout"]
    else:
        granted(ended)
    refused(issuer.refresh(other["refresh_token"]), 503, "temporarily_unavailable")
    monkeypatch.undo()
    issuer.clock.advance(10)
    services.pulse.beat()
    services.revoker.complete_undone()
    assert issuer.undone() == []
    from issuer.sessions.bearer import refused_by_denylist

    of_other = services.verifier.verify_with_key(other["access_token"])
    assert refused_by_denylist(services, *of_other) == "session"
    assert granted(issuer.refresh(session["refresh_token"]))


@stacks.on_redis
def test_a_denylist_that_went_back_is_corrected(issuer: IssuerApp) -> None:
    """A lower `seq` than seen before has the journal replayed into it."""
    past = redis_dump(issuer.services)
    token = issuer.grant()["access_token"]
    granted(issuer.revoke(token))
    for _ in range(3):
        issuer.clock.advance(2)
        issuer.services.pulse.beat()
    restore_redis(issuer.services, past)
    with capture_logs() as lines:
        issuer.services.pulse.beat()
    events = [line["event"] for line in lines]
    assert events == ["denylist_went_back", "denylist_filled"]
    assert granted(issuer.introspect(token)) == {"active": False}


@stacks.on_redis
def test_who_stood_still_after_reading_the_position_vouches_for_nothing(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token is revoked and Redis put back meanwhile, by the server that runs: the position that
    was read before knows of neither. The next beat does, and has the journal replayed."""
    services = issuer.services
    services.pulse.beat()
    past, token = redis_dump(services), issuer.grant()["access_token"]
    read = services.positions.read

    def overtaken() -> Position | None:
        known = read()
        monkeypatch.undo()
        granted(issuer.revoke(token))
        restore_redis(services, past)
        issuer.clock.advance(1.1)
        return known

    monkeypatch.setattr(services.positions, "read", overtaken)
    before = services.denylist.state().position
    with pytest.raises(HeartbeatLate):
        services.pulse.beat()
    assert services.denylist.state().position == before
    services.pulse.beat()
    assert granted(issuer.introspect(token)) == {"active": False}
    assert all(row["done"] for row in issuer.rows("journal"))


def test_a_heartbeat_comes_once_an_interval(issuer: IssuerApp) -> None:
    """However often an issuer beats, the feed gets one heartbeat each interval."""
    denylist, pulse = issuer.services.denylist, issuer.services.pulse
    start = denylist.state().position.seq
    for _ in range(5):
        pulse.beat()
    assert denylist.state().position.seq == start
    issuer.clock.advance(issuer.services.settings.heartbeat_interval)
    for _ in range(5):
        pulse.beat()
    assert denylist.state().position.seq == start + 1


def test_a_first_beat_completes_what_others_began(issuer: IssuerApp) -> None:
    """Starting up, an issuer pushes undone rows and drops those past their time."""
    services = issuer.services
    now = int(issuer.clock())
    services.journal.append(Entry.session("A" * 22, now + 1000), reason=Reason.OPERATOR)
    old = services.journal.append(Entry.session("B" * 22, now - 1), reason=Reason.OPERATOR)
    services.journal.mark_done(services.journal.get([old]), least_expires=0)
    pulse = issuer.make_pulse(access_lifetimes=frozenset({300, 900}))
    pulse.beat()
    assert [(row["value"], row["done"]) for row in issuer.rows("journal")] == [("A" * 22, True)]
    assert {300, 900} <= {row["seconds"] for row in issuer.rows("access_lifetimes")}
    assert services.journal.longest_lifetime() == 900


def test_lifetimes_are_noted_while_the_denylist_is_away(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens are issued all the same, and what revokes them later must outlive them."""
    services = issuer.services
    services.pulse.beat()
    running = [0.0]

    def away(*_: object, **_options: object) -> Position:
        raise DenylistUnavailable("away")

    for method in ("initialise", "heartbeat"):
        pulse = issuer.make_pulse(
            access_lifetimes=frozenset({900}),
            clock=lambda: running[0],
        )
        with monkeypatch.context() as patch:
            patch.setattr(services.denylist, method, away)
            for _ in range(2):
                issuer.clock.advance(2000)
                running[0] += 2000
                with pytest.raises(DenylistUnavailable):
                    pulse.beat()
                assert services.journal.longest_lifetime() == 900


def test_housekeeping_waits_its_time(issuer: IssuerApp) -> None:
    """Between two housekeepings lies the interval, by the clock that counts running time."""
    services = issuer.services
    running = [0.0]
    pulse = issuer.make_pulse(clock=lambda: running[0])
    pulse.beat()
    services.journal.append(Entry.session("A" * 22, 2_000_000_000), reason=Reason.OPERATOR)
    running[0] = 4.9
    pulse.beat()
    assert issuer.undone() == ["operator"]
    running[0] = 5.0
    pulse.beat()
    assert issuer.undone() == []


def test_a_denylist_of_another_epoch_is_filled(issuer: IssuerApp) -> None:
    """Where somebody else has put a new denylist in its place, the journal goes into that one."""
    services = issuer.services
    token = issuer.grant()["access_token"]
    granted(issuer.revoke(token))
    services.pulse.beat()
    services.denylist.replace(watermark=0)
    services.denylist.mark_ready()
    with capture_logs() as lines:
        services.pulse.beat()
    assert [line["event"] for line in lines] == ["denylist_went_back", "denylist_filled"]
    assert granted(issuer.introspect(token)) == {"active": False}


@stacks.anywhere
def test_the_background_thread_outlives_a_store_that_is_down(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says once that it fails, goes on trying, and says that it recovered."""
    services = issuer.services
    failures, beaten = [0], threading.Event()
    heartbeat = services.denylist.heartbeat

    def down(interval: float, *given: Any) -> Position:
        failures[0] += 1
        if failures[0] <= 3:
            raise DenylistUnavailable("down")
        beaten.set()
        return heartbeat(interval, *given)

    monkeypatch.setattr(services.denylist, "heartbeat", down)
    pulse = issuer.make_pulse(heartbeat_interval=0.002)
    with capture_logs() as lines:
        pulse.start()
        try:
            for _ in until(10, "recovery"):
                if any(line["event"] == "pulse_recovered" for line in lines):
                    break
        finally:
            pulse.stop()
    events = [line["event"] for line in lines]
    assert events.count("pulse_failing") == 1
    assert events.count("pulse_recovered") == 1
    assert beaten.is_set()


def test_a_database_that_is_away_is_told_once(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beats go on without it, which is neither news with each of them nor a recovery."""
    services = issuer.services
    read, beats, back = services.positions.read, [0], threading.Event()

    def away() -> Position | None:
        beats[0] += 1
        if back.is_set():
            return read()
        raise DatabaseUnavailable("away")

    def failing() -> int:
        if back.is_set():
            return 0
        raise DatabaseUnavailable("away")

    pulse = issuer.make_pulse(
        heartbeat_interval=0.002,
        clock=lambda: beats[0] * 2.5,
    )
    pulse.beat()
    monkeypatch.setattr(services.positions, "read", away)
    monkeypatch.setattr(services.revoker, "complete_undone", failing)
    with capture_logs() as lines:
        pulse.start()
        try:
            for _ in until(10, "twenty beats"):
                if beats[0] > 20:
                    break
            back.set()
            for _ in until(10, "recovery"):
                if any(line["event"] == "pulse_recovered" for line in lines):
                    break
        finally:
            pulse.stop()
    assert sorted(line["event"] for line in lines) == [
        "heartbeat_without_database",
        "pulse_failing",
        "pulse_recovered",
    ]
    assert {line["work"] for line in lines if "work" in line} == {"housekeeping"}


def test_no_beat_comes_before_its_lifetimes_are_noted(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever revokes has to know them; a note that fails keeps the first beat back."""
    services = issuer.services
    events: list[str] = []
    note, heartbeat = services.journal.note_lifetime, services.denylist.heartbeat

    def failing_twice(seconds: int, *, ahead: int) -> None:
        events.append("note")
        if events.count("note") <= 2:
            raise DatabaseUnavailable("away")
        note(seconds, ahead=ahead)

    def beating(interval: float, *given: Any) -> Position:
        events.append("beat")
        return heartbeat(interval, *given)

    monkeypatch.setattr(services.journal, "note_lifetime", failing_twice)
    monkeypatch.setattr(services.denylist, "heartbeat", beating)
    pulse = issuer.make_pulse(access_lifetimes=frozenset({900}))
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            pulse._beat_alone()
    pulse._beat_alone()
    assert events == ["note", "note", "note", "beat"]


def test_no_beat_waits_for_a_write(issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is slow to write makes no gateway refuse: its replica stays young."""
    services = issuer.services
    heartbeat, beats = services.denylist.heartbeat, [0]
    writing, done = threading.Event(), threading.Event()

    def slowly() -> int:
        writing.set()
        done.wait(30)
        return 0

    def counted(interval: float, *given: Any) -> Position:
        beats[0] += 1
        return heartbeat(interval, *given)

    monkeypatch.setattr(services.revoker, "complete_undone", slowly)
    monkeypatch.setattr(services.journal, "prune", slowly)
    monkeypatch.setattr(services.denylist, "heartbeat", counted)
    monkeypatch.setattr("issuer.pulse.COMPLETION_INTERVAL", 0.0)
    pulse = issuer.make_pulse(heartbeat_interval=0.002)
    pulse.start()
    try:
        assert writing.wait(10)
        begun = beats[0]
        for _ in until(10, "twenty beats"):
            if beats[0] >= begun + 20:
                break
    finally:
        done.set()
        pulse.stop()


def test_services_start_and_stop(issuer: IssuerApp) -> None:
    """The background threads start, and stop without being asked twice."""
    issuer.services.start()
    names = {thread.name for thread in threading.enumerate()}
    assert {"gatepass-pulse", "gatepass-housekeeping", "gatepass-resets"} <= names
    assert issuer.ask("GET", "/readyz").status_code == 200
    issuer.services.stop()
    left = {thread.name for thread in threading.enumerate()}
    assert not {"gatepass-pulse", "gatepass-housekeeping", "gatepass-resets"} & left
