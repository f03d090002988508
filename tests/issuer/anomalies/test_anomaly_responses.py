"""What is done about an alarm: by a real issuer, on each pair of database and store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyotp
import pytest
from harness import stacks
from harness.factors import ask, enrol_app
from harness.issuer_app import PASSWORD, USERNAME, IssuerApp, bearer, granted, refused
from harness.limits import HOME, WRONG, attempt, elsewhere, limits, log_in, pass_time, wait_of

from issuer.anomalies.alarm import Alarm
from issuer.anomalies.responses import Responder
from issuer.anomalies.rules import Scope
from issuer.audit import EventKind, Outcome, Recorded
from issuer.audit.event import Event
from issuer.audit.following import Follower
from issuer.audit.outbox import pend
from issuer.journal import Reason
from issuer.notifications.following import NotificationConsumer

Make = Callable[..., IssuerApp]
ENDED = EventKind.SESSION_ENDED
INSUFFICIENT = "insufficient_user_authentication"
CHROME = "Mozilla/5.0 (Windows NT 10.0) Chrome/120.0 Safari/537.36"


def follow(issuer: IssuerApp) -> None:
    """Bring what has happened into the log, and let the detector follow to its end."""
    issuer.services.audit.flush()
    (follower,) = anomaly_followers(issuer)
    follower._place.make()
    assert follower._place.hold()
    while follower.step():
        pass
    issuer.services.audit.flush()


def anomaly_followers(issuer: IssuerApp) -> list[Follower]:
    followers = issuer.services.audit._followers
    return [each for each in followers if each._consumer.name == "anomalies"]


def begin(issuer: IssuerApp) -> None:
    """The log's followers begin where it ends when they are first started."""
    issuer.services.audit.flush()
    for follower in anomaly_followers(issuer):
        follower._place.make()


def alarms(issuer: IssuerApp) -> list[Event]:
    """The alarms in the audit log."""
    issuer.services.audit.flush()
    found = issuer.services.audit.log.after(0, 1000)
    return [each.event for each in found if each.event.kind is EventKind.ANOMALY]


def refresh(issuer: IssuerApp, token: str, agent: str = CHROME, address: str = HOME) -> Any:
    body = {"refresh_token": token}
    base = {"REMOTE_ADDR": address}
    return issuer.post("/refresh", body, environ_base=base, headers={"User-Agent": agent})


def responder(issuer: IssuerApp) -> Responder:
    services = issuer.services
    return Responder(
        services.settings.anomalies,
        services.engine,
        services.revoker,
        services.limits.passwords,
        services.accounts.by_id,
        pend,
        services.clock,
    )


def alarm(issuer: IssuerApp, rule: str, scope: Scope = Scope.SESSION, **fields: Any) -> Alarm:
    """One about the person of the tests."""
    given = {"sub": issuer.account.id, "address": elsewhere(1), **fields}
    cause = Event(kind=EventKind.LOGIN, time=issuer.clock(), **given)
    return Alarm(rule, 7, cause, {}, scope)


def test_a_thief_ends_the_session_that_he_follows(make_issuer: Make) -> None:
    """From the requests themselves to the end of the session, by the log and the detector."""
    issuer = make_issuer(anomalies={"moved": {"respond": ["end_session"]}})
    begin(issuer)
    got = granted(log_in(issuer))
    issuer.clock.advance(60)
    stolen = granted(refresh(issuer, got["refresh_token"]))
    follow(issuer)
    assert alarms(issuer) == []
    issuer.clock.advance(60)
    granted(refresh(issuer, stolen["refresh_token"], "curl/8.9", elsewhere(3)))
    follow(issuer)
    (found,) = alarms(issuer)
    assert (found.why, found.sid, found.sub) == ("moved", got["session"]["sid"], issuer.account.id)
    assert found.details["response"] == ["end_session"]
    ended = issuer.services.audit.log.after(0, 1000)
    assert [(each.event.actor, each.event.why) for each in ended if each.event.kind is ENDED] == [
        ("anomalies", "anomaly")
    ]
    answer = refresh(issuer, stolen["refresh_token"])
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_grant")
    (row,) = [row for row in issuer.rows("journal") if row["reason"] == Reason.ANOMALY]
    assert row["value"] == got["session"]["sid"]
    follow(issuer)
    assert len(alarms(issuer)) == 1, "an alarm is no cause of another"


def test_whoever_must_prove_anew_is_refreshed_no_more(make_issuer: Make) -> None:
    """This session, by every issuer, until its owner logs in again: that is another session."""
    issuer = make_issuer(anomalies={"moved": {"respond": "reauthenticate"}})
    got, other = granted(log_in(issuer)), granted(log_in(issuer))
    sid = got["session"]["sid"]
    respond = responder(issuer)
    for _ in range(2):
        respond([alarm(issuer, "moved", sid=sid)])
    answer = refresh(issuer, got["refresh_token"])
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_grant")
    assert "prove anew who you are" in answer.get_json()["error_description"]
    assert granted(issuer.introspect(got["refresh_token"])) == {"active": False}
    assert refresh(issuer, other["refresh_token"]).status_code == 200
    assert refresh(issuer, granted(log_in(issuer))["refresh_token"]).status_code == 200
    (row,) = issuer.rows("reauthentications")
    assert (row["sid"], row["sub"], row["rule"]) == (sid, issuer.account.id, "moved")
    out = issuer.post("/logout", {"refresh_token": got["refresh_token"]})
    assert out.get_json() == {"logged_out": True}


@stacks.anywhere
def test_whoever_must_prove_anew_gets_no_other_session_by_a_fresh_login(make_issuer: Make) -> None:
    """Else a thief would add a factor of his own, and be refreshed again; a password alone is as
    little where there is a factor. An elevation proves all of it."""
    issuer = make_issuer(anomalies={"moved": {"respond": "reauthenticate"}})
    began, doubted = issuer.grant(), issuer.grant()
    waiting = granted(ask(issuer, "/totp", doubted))
    app = pyotp.TOTP(waiting["secret"])
    respond = responder(issuer)
    respond([alarm(issuer, "moved", sid=doubted["session"]["sid"])])
    code = app.at(issuer.clock())
    refused(ask(issuer, "/totp/confirm", doubted, id=waiting["id"], otp=code), 401, INSUFFICIENT)
    for given in ({}, {"current_password": PASSWORD}):
        refused(ask(issuer, "/totp", doubted, **given), 401, INSUFFICIENT)
    held = enrol_app(issuer, began)
    respond([alarm(issuer, "moved", sid=held.grant["session"]["sid"])])
    token = held.grant["access_token"]
    refused(issuer.change_password(token), 401, "factor_required")
    body = {"current_password": PASSWORD, "otp": held.next_code(), "transport": "body"}
    raised = granted(issuer.post("/elevate", body, headers=bearer(token)))
    assert granted(issuer.refresh(raised["refresh_token"]))
    assert granted(issuer.change_password(raised["access_token"]))


@stacks.anywhere
def test_what_was_demanded_long_ago_is_forgotten(make_issuer: Make) -> None:
    """A row is kept for as long as any session may last."""
    issuer = make_issuer(anomalies={"moved": {"respond": "reauthenticate"}})
    respond = responder(issuer)
    respond([alarm(issuer, "moved", sid="A" * 22)])
    issuer.clock.advance(30 * 86_400)
    respond([alarm(issuer, "moved", sid="B" * 22)])
    assert [row["sid"] for row in issuer.rows("reauthentications")] == ["B" * 22]


def test_a_block_keeps_strangers_out_and_lets_the_owner_in(make_issuer: Make) -> None:
    """Whoever makes alarms about an account locks nobody out where the account is known."""
    issuer = make_issuer(limits=limits(), anomalies={"guessing": {"respond": ["block"]}})
    assert log_in(issuer, HOME).status_code == 200
    respond = responder(issuer)
    respond([alarm(issuer, "guessing", Scope.ACCOUNT)])
    assert log_in(issuer, elsewhere(1)).status_code == 429
    assert log_in(issuer, elsewhere(2)).status_code == 429
    assert log_in(issuer, HOME).status_code == 200
    assert 0 < int(log_in(issuer, elsewhere(2)).headers["Retry-After"]) <= 900
    assert attempt(issuer, elsewhere(2), "somebody@else.example").status_code == 400


@pytest.mark.parametrize("stack", ["sqlite-redis"], indirect=True)
@pytest.mark.parametrize(("given", "seconds"), [({}, 900), ({"block_for": 40}, 40)])
def test_a_block_ends(
    make_issuer: Make, store_url: str, given: dict[str, int], seconds: int
) -> None:
    """After `block_for`, and not before; a login that is turned away makes it no longer."""
    issuer = make_issuer(limits=limits(), anomalies={"guessing": {"respond": "block"}, **given})
    responder(issuer)([alarm(issuer, "guessing", Scope.ACCOUNT)])
    assert seconds - 10 < wait_of(log_in(issuer, elsewhere(1))) <= seconds
    pass_time(store_url, seconds - 15)
    assert 0 < wait_of(log_in(issuer, elsewhere(1))) <= 15
    pass_time(store_url, 16)
    assert log_in(issuer, elsewhere(1)).status_code == 200


@stacks.both_stores
def test_a_network_that_stuffs_is_blocked_but_not_those_at_home_there(make_issuer: Make) -> None:
    """Behind one address translation live honest people too."""
    issuer = make_issuer(limits=limits(), anomalies={"stuffing": {"respond": ["block", "log"]}})
    assert log_in(issuer, HOME).status_code == 200
    respond = responder(issuer)
    respond([alarm(issuer, "stuffing", Scope.NETWORK, sub="another", address=HOME)])
    assert attempt(issuer, HOME, "somebody@else.example").status_code == 429
    assert log_in(issuer, HOME).status_code == 200
    assert attempt(issuer, elsewhere(1), "somebody@else.example").status_code == 400
    (found,) = alarms(issuer)
    assert found.sub is None


@stacks.anywhere
def test_what_has_nothing_to_block_blocks_nobody(make_issuer: Make) -> None:
    """From everywhere, from a pseudonym, for a name that nobody has."""
    rules: dict[str, Any] = {"stuffing": {"respond": "block"}, "guessing": {"respond": "block"}}
    issuer = make_issuer(limits=limits(), anomalies=rules)
    respond = responder(issuer)
    respond([alarm(issuer, "stuffing", Scope.EVERYWHERE, address=HOME)])
    respond([alarm(issuer, "stuffing", Scope.NETWORK, address="3f8a-pseudonym")])
    respond([alarm(issuer, "guessing", Scope.ACCOUNT, sub=None)])
    respond([alarm(issuer, "guessing", Scope.ACCOUNT, sub="nobody")])
    assert log_in(issuer, HOME).status_code == 200


@stacks.anywhere
def test_a_reset_ends_a_block(make_issuer: Make) -> None:
    """Who has proved the mailbox logs in at once, wherever that is (SP 800-63B-4, 3.2.2)."""
    issuer = make_issuer(limits=limits(), anomalies={"guessing": {"respond": "block"}})
    responder(issuer)([alarm(issuer, "guessing", Scope.ACCOUNT)])
    assert log_in(issuer, elsewhere(1)).status_code == 429
    issuer.services.limits.passwords.proved(USERNAME, elsewhere(2))
    assert attempt(issuer, elsewhere(1), USERNAME, PASSWORD).status_code == 200


def test_the_log_has_an_alarm_once(make_issuer: Make) -> None:
    """However often the batch that it came of is given again; what is done is done again."""
    issuer = make_issuer()
    got = granted(log_in(issuer))
    respond = responder(issuer)
    found = alarm(issuer, "reuse", sid=got["session"]["sid"])
    for _ in range(3):
        respond([found])
        issuer.services.audit.flush()
        respond([found])
    assert len(alarms(issuer)) == 1
    assert refresh(issuer, got["refresh_token"]).status_code == 400


def test_guesses_reach_the_detector(make_issuer: Make) -> None:
    """Wrong passwords of one account from many networks, as the issuer writes them down."""
    issuer = make_issuer(
        limits=limits(), anomalies={"guessing": {"respond": ["log"], "an_hour": 4}}
    )
    begin(issuer)
    for number in range(4):
        assert attempt(issuer, elsewhere(number), USERNAME, WRONG).status_code == 400
    follow(issuer)
    (found,) = alarms(issuer)
    assert (found.why, found.sub, found.outcome) == ("guessing", issuer.account.id, Outcome.SUCCESS)
    assert found.details["evidence"]["in_an_hour"] == 4


@stacks.anywhere
def test_nobody_follows_where_it_is_off(make_issuer: Make) -> None:
    """The switch for all of it."""
    assert anomaly_followers(make_issuer(anomalies={"on": False})) == []
    assert len(anomaly_followers(make_issuer())) == 1


@stacks.anywhere
@pytest.mark.parametrize("redone", [False, True])
def test_a_failed_response_leaves_the_place_where_it_was(make_issuer: Make, redone: bool) -> None:
    """The follower gives the batch again, and the session ends after all."""
    issuer = make_issuer(anomalies={"moved": {"respond": "end_session"}})
    got = granted(log_in(issuer))
    events = [
        Event(
            kind=kind,
            time=issuer.clock(),
            sub=issuer.account.id,
            sid=got["session"]["sid"],
            address=address,
            user_agent=agent,
            why="rotated",
        )
        for kind, address, agent in (
            (EventKind.SESSION_STARTED, HOME, CHROME),
            (EventKind.SESSION_REFRESHED, elsewhere(1), "curl/8"),
        )
    ]
    batch = [Recorded(seq, event) for seq, event in enumerate(events, 1)]
    detector = anomaly_followers(issuer)[0]._consumer
    revoker = issuer.services.revoker
    with pytest.MonkeyPatch.context() as patch:

        def dead(*_: object, **__: object) -> None:
            raise ConnectionError

        patch.setattr(type(revoker), "end_session", dead)
        with pytest.raises(ConnectionError):
            detector.consume(batch)
    assert alarms(issuer) == []
    detector.consume(batch)
    if redone:
        detector.consume(batch)
    assert [each.why for each in alarms(issuer)] == ["moved"]
    assert refresh(issuer, got["refresh_token"]).status_code == 400


@pytest.mark.parametrize(("responses", "told"), [(["log", "webhook"], True), (["log"], False)])
def test_who_is_notified_is_told_if_the_rule_says_so(responses: list[str], told: bool) -> None:
    """An alarm that only goes into the log goes nowhere else."""

    class Everything:
        def wanted(self, event: Event) -> list[Event]:
            return [event]

    added: list[Any] = []

    class Queue:
        add = staticmethod(added.extend)

    found = Event(kind=EventKind.ANOMALY, time=1.0, details={"response": responses})
    consumer = NotificationConsumer(
        Queue(),  # type: ignore[arg-type]
        [Everything()],  # type: ignore[list-item]
        wake=lambda: None,
        clock=lambda: 2.0,
        max_age=60,
    )
    consumer.consume([Recorded(1, found)])
    assert added == ([found] if told else [])
