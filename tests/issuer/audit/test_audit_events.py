"""Every operation leaves the events that it should, and no secret among them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from harness import stacks
from harness.issuer_app import NEW_PASSWORD, PASSWORD, SECRET, USERNAME, IssuerApp, basic
from harness.limits import limits
from structlog.testing import capture_logs

from issuer.audit import Event, EventKind, Origin, coming_from, live_sessions
from issuer.audit.chain import ChainKey
from issuer.audit.key_changes import KeyChanges
from issuer.audit.live_sessions import LiveSession, past_their_end
from issuer.database.tables import audit_log
from issuer.families import LeftDraft
from issuer.journal import Reason
from keys import KeyRing, KeyState, generate
from revocation import Entry

Said = tuple[str, str, str]
"""Kind, outcome, why."""


def events(issuer: IssuerApp) -> list[Event]:
    """All events of the log, the oldest first."""
    issuer.services.audit.flush()
    return [recorded.event for recorded in issuer.services.audit.log.after(0, 10_000)]


def signed_in(issuer: IssuerApp) -> list[LiveSession]:
    """The sessions of whose end the log does not tell."""
    return past_their_end(issuer.services.engine, 1 << 40, 100)


def said(found: list[Event]) -> list[Said]:
    return [(event.kind.value, event.outcome.value, event.why) for event in found]


def told_by(issuer: IssuerApp, operation: Callable[[], Any]) -> list[Event]:
    """What one operation adds to the log."""
    before = len(events(issuer))
    operation()
    return events(issuer)[before:]


def test_a_login_is_told_with_its_session(issuer: IssuerApp) -> None:
    """Time, event, subject, session, client, address, user agent, outcome, request id."""
    headers = {"User-Agent": "Browser/1.0"}
    found = told_by(issuer, lambda: issuer.login(headers=headers, client_id="demo"))
    assert said(found) == [("login", "success", "login"), ("session_started", "success", "login")]
    for event in found:
        assert event.time == issuer.clock()
        assert event.sub == issuer.account.id
        assert (event.client_id, event.address) == ("demo", "127.0.0.1")
        assert event.user_agent == "Browser/1.0"
        assert len(event.request_id) >= 16
        assert event.actor == ""
        assert event.details["amr"] == ["pwd"]
    (live,) = signed_in(issuer)
    assert (live.sid, live.sub) == (found[0].sid, issuer.account.id)


def test_a_login_that_is_refused_says_why(issuer: IssuerApp) -> None:
    """To the log alone; a name that somebody typed is a pseudonym, since it may be a password."""
    names = {
        USERNAME: "wrong_password",
        "nobody@example.org": "unknown_account",
    }
    for name, why in names.items():
        found = told_by(issuer, lambda name=name: issuer.login(name, "not the password at all"))
        assert said(found) == [("login", "failure", why)]
        assert found[0].details == {"account": issuer.services.audit.account(name)}
        assert found[0].sub == (issuer.account.id if name == USERNAME else None)
        assert name not in found[0].to_json()


def test_many_refusals_are_summed_up(issuer: IssuerApp) -> None:
    """Nobody fills the log: after thirty in a minute their number follows."""

    def guess() -> None:
        for _ in range(45):
            issuer.refresh("not a token")

    found = told_by(issuer, guess)
    assert said(found) == [("refresh_refused", "failure", "invalid")] * 30
    issuer.clock.advance(61)
    refusals = issuer.services.audit._recorder._refusals
    (more,) = refusals.sums()
    assert more.kind is EventKind.REFRESH_REFUSED
    assert more.details["more"] == 14, "beside the one that it is"
    assert refusals.sums() == []


def test_a_refresh_is_told_with_its_rule(issuer: IssuerApp) -> None:
    """Each of the four by its name; the session is seen again."""
    first = issuer.grant()["refresh_token"]
    (event,) = told_by(issuer, lambda: issuer.refresh(first))
    assert (event.why, event.details["gen"], event.details["presented"]) == ("repeated", 1, 1)
    issuer.clock.advance(20)
    assert said(told_by(issuer, lambda: issuer.refresh(first))) == [
        ("session_refreshed", "success", "rotated")
    ]
    (event,) = told_by(issuer, lambda: issuer.refresh(first))
    assert (event.why, event.details["gen"], event.details["presented"]) == ("resent", 2, 1)
    issuer.clock.advance(60)
    (event,) = told_by(issuer, lambda: issuer.refresh(first))
    assert (event.why, event.details["gen"], event.details["presented"]) == ("retried_late", 2, 1)
    (live,) = signed_in(issuer)
    assert live.last_seen == int(issuer.clock()) > live.started


def test_reuse_is_told_with_the_end_that_it_brings(issuer: IssuerApp) -> None:
    """Detected first, ended then; afterwards it is refused as ended."""
    first = issuer.grant()["refresh_token"]
    token = first
    for _ in range(2):
        issuer.clock.advance(20)
        token = issuer.refresh(token).get_json()["refresh_token"]
    issuer.clock.advance(20)
    found = told_by(issuer, lambda: issuer.refresh(first))
    assert sorted(said(found)) == [
        ("reuse_detected", "failure", "reuse"),
        ("session_ended", "success", "reuse"),
    ]
    assert {event.client_id for event in found} == {"demo"}
    assert said(told_by(issuer, lambda: issuer.refresh(token))) == [
        ("refresh_refused", "failure", "ended")
    ]


@pytest.mark.parametrize("path", ["/password", "/elevate"])
def test_attempts_that_are_turned_away_are_told(issuer: IssuerApp, path: str) -> None:
    """Not at a login alone, so that the owner hears of it; with whose account it is."""
    headers = {"Authorization": f"Bearer {issuer.grant()['access_token']}"}
    body = {"current_password": "wrong"}
    if path == "/password":
        body["new_password"] = NEW_PASSWORD
    answers = [issuer.post(path, body, headers=headers).status_code for _ in range(20)]
    assert answers[-1] == 429
    (event,) = told_by(issuer, lambda: issuer.post(path, body, headers=headers))
    assert said([event]) == [("login_limited", "failure", "too_many")]
    assert event.sub == issuer.account.id


def test_a_flood_of_refreshes_is_told(make_issuer: Callable[..., IssuerApp]) -> None:
    """With the session whose token it is."""
    issuer = make_issuer(limits=limits(refreshes_session="2 per minute"))
    grant = issuer.grant()
    found = told_by(issuer, lambda: [issuer.refresh(grant["refresh_token"]) for _ in range(3)])
    assert said(found)[-1] == ("refresh_refused", "failure", "limited")
    assert found[-1].sid == grant["session"]["sid"]


def test_each_event_is_a_line_of_the_issuers_log(issuer: IssuerApp) -> None:
    """With its place and hash, so that the lines witness what the database says later."""
    with capture_logs() as lines:
        (event,) = told_by(issuer, lambda: issuer.refresh("not a token"))
    (line,) = [line for line in lines if line["event"] == "refresh_refused" and "hash" in line]
    head = issuer.services.audit.log.head()
    assert (line["seq"], line["hash"], line["id"]) == (head.seq, head.hash, event.id)
    assert (line["why"], line["log_level"]) == ("invalid", "info")


def test_a_password_change_ends_each_session_by_name(issuer: IssuerApp) -> None:
    """What else was signed in is told one by one, and who takes the place of the caller's."""
    grants = [issuer.grant() for _ in range(3)]
    found = told_by(issuer, lambda: issuer.change_password(grants[0]["access_token"]))
    ended = {event.sid for event in found if event.kind is EventKind.SESSION_ENDED}
    assert ended == {grant["session"]["sid"] for grant in grants}
    rest = [one for one in said(found) if one[0] != "session_ended"]
    assert sorted(rest) == [
        ("password_changed", "success", "password_change"),
        ("revoked", "success", "password_change"),
        ("session_started", "success", "password_change"),
    ]
    (live,) = signed_in(issuer)
    assert live.sid not in ended


def _disable(issuer: IssuerApp) -> None:
    issuer.services.accounts.set_enabled(issuer.account.id, False, expires=0)


OPERATIONS: dict[str, tuple[Callable[[IssuerApp], Any], list[Said]]] = {
    "logout": (
        lambda issuer: issuer.logout(issuer.grant()["refresh_token"]),
        [
            ("login", "success", "login"),
            ("session_started", "success", "login"),
            ("session_ended", "success", "logout"),
        ],
    ),
    "wrong current password": (
        lambda issuer: issuer.change_password(issuer.grant()["access_token"], "wrong wrong wrong"),
        [
            ("login", "success", "login"),
            ("session_started", "success", "login"),
            ("password_refused", "failure", "wrong_password"),
        ],
    ),
    "reset": (
        lambda issuer: issuer.post(
            "/password/reset", {"token": issuer.forgot(), "new_password": NEW_PASSWORD}
        ),
        [
            ("password_reset_sent", "success", ""),
            ("revoked", "success", "password_reset"),
            ("password_reset", "success", ""),
        ],
    ),
    "reset with a worthless token": (
        lambda issuer: issuer.post(
            "/password/reset", {"token": "x" * 43, "new_password": NEW_PASSWORD}
        ),
        [("password_refused", "failure", "reset_token")],
    ),
    "login at a client that nobody knows": (
        lambda issuer: issuer.login(client_id="elsewhere"),
        [("client_refused", "failure", "invalid_client")],
    ),
    "login at a disabled client": (
        lambda issuer: (
            issuer.services.clients.disable("demo", watermark=1, expires=1 << 33),
            issuer.login(client_id="demo"),
        ),
        [
            ("client_disabled", "success", ""),
            ("revoked", "success", "client"),
            ("client_refused", "failure", "client_disabled"),
        ],
    ),
    "client with a wrong secret": (
        lambda issuer: issuer.ask(
            "POST", "/introspect", data={"token": "x"}, headers=basic("rs", "wrong")
        ),
        [("client_refused", "failure", "wrong_secret")],
    ),
    "token revocation": (
        lambda issuer: issuer.ask(
            "POST",
            "/revoke",
            data={"token": issuer.grant(client_id="demo")["access_token"], "client_id": "demo"},
        ),
        [
            ("login", "success", "login"),
            ("session_started", "success", "login"),
            ("revoked", "success", "rfc7009"),
        ],
    ),
    "disabling": (
        _disable,
        [("revoked", "success", "disabled"), ("account_disabled", "success", "")],
    ),
    "roles": (
        lambda issuer: issuer.services.accounts.set_roles(issuer.account.id, (), expires=0),
        [("revoked", "success", "roles"), ("roles_changed", "success", "")],
    ),
    "client disabled and enabled": (
        lambda issuer: (
            issuer.services.clients.disable("demo", watermark=1, expires=1 << 33),
            issuer.services.clients.enable("demo"),
        ),
        [
            ("client_disabled", "success", ""),
            ("revoked", "success", "client"),
            ("client_enabled", "success", ""),
        ],
    ),
    "log out everywhere": (
        lambda issuer: issuer.services.accounts.raise_versions(
            issuer.account.id, expires=0, reason=str(Reason.LOGOUT_EVERYWHERE)
        ),
        [("revoked", "success", "logout_everywhere")],
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_each_operation_tells(issuer: IssuerApp, name: str) -> None:
    """The table: nothing more, nothing less, in any order within one moment."""
    operation, expected = OPERATIONS[name]
    assert sorted(said(told_by(issuer, lambda: operation(issuer)))) == sorted(expected)


def test_new_keys_are_told(issuer: IssuerApp) -> None:
    """The ring is compared with what the log knows: found once, whoever changed it."""
    changes = issuer.services.audit._keeper._keys

    def note() -> None:
        assert changes.note() == 2
        assert changes.note() == 0

    found = told_by(issuer, note)
    assert said(found) == [("key_changed", "success", "active")] * 2
    assert {event.details["kid"]: event.details for event in found} == {
        key.kid: {"kid": key.kid, "alg": key.alg, "from": None, "to": "active"}
        for key in issuer.services.keys.ring.keys
    }


@stacks.both_databases
def test_each_state_of_a_key_is_told(issuer: IssuerApp) -> None:
    """From the one before: a step of its rotation, or gone by whatever way, once each."""
    key, other = generate("ES256", 0), generate("EdDSA", 0)
    rings = [
        [key],
        [replace(key, state=KeyState.ACTIVE)],
        [replace(key, state=KeyState.RETIRING), other],
        [other],
    ]
    ring = KeyRing()
    changes = KeyChanges(issuer.services.engine, lambda: ring, issuer.clock)
    changes.note()  # the log forgets whatever the fixture's ring has told
    before = len(events(issuer))
    for each in rings:
        ring = KeyRing(tuple(each))
        assert changes.note() > 0
        assert changes.note() == 0
    told = [event for event in events(issuer)[before:] if event.kind is EventKind.KEY_CHANGED]
    steps = [(event.details["kid"], event.details["from"], event.details["to"]) for event in told]
    assert sorted(steps, key=str) == sorted(
        [
            (key.kid, None, "pending"),
            (key.kid, "pending", "active"),
            (key.kid, "active", "retiring"),
            (key.kid, "retiring", "gone"),
            (other.kid, None, "pending"),
        ],
        key=str,
    )
    assert {event.details["alg"] for event in told} == {"ES256", "EdDSA"}


@stacks.anywhere
def test_a_revoked_key_is_told_as_such_and_as_gone(issuer: IssuerApp) -> None:
    """The revocation with its reason, and the ring's change that follows it."""
    changes = issuer.services.audit._keeper._keys
    changes.note()
    kid = issuer.services.keys.ring.active("ES256").kid

    def revoke() -> None:
        issuer.services.revoker.revoke(Entry.key(kid), reason=Reason.KEY)
        issuer.services.keys.tick()  # as it does by itself every few seconds
        changes.note()

    found = told_by(issuer, revoke)
    revoked = next(event for event in found if event.kind is EventKind.REVOKED)
    assert (revoked.why, revoked.details) == ("key", {"what": "key", "value": kid})
    gone = next(event for event in found if event.details.get("kid") == kid)
    assert (gone.kind, gone.why) == (EventKind.KEY_CHANGED, "gone")


@pytest.mark.parametrize(
    ("client_id", "why", "until"), [("demo", "idle", 1800), ("kiosk", "absolute", 7200)]
)
def test_a_session_that_passes_its_end_is_told(
    issuer: IssuerApp, client_id: str, why: str, until: int
) -> None:
    """Nobody does anything, and the log says when it ended and why; once."""
    sid = issuer.grant(client_id=client_id)["session"]["sid"]
    issuer.services.audit.flush()
    issuer.clock.advance(until + 60)
    keeper = issuer.services.audit._keeper
    assert told_by(issuer, keeper.note_expiries) == []
    issuer.clock.advance(60)
    (event,) = told_by(issuer, keeper.note_expiries)
    assert said([event]) == [("session_expired", "success", why)]
    assert (event.sid, event.sub, event.time) == (sid, issuer.account.id, issuer.clock() - 120)
    assert told_by(issuer, keeper.note_expiries) == []


def test_an_event_in_an_expiry_s_name_stops_no_search_for_others(issuer: IssuerApp) -> None:
    """A session whose expiry cannot be told is looked at again later, not for ever now."""
    sid = issuer.grant()["session"]["sid"]
    audit = issuer.services.audit
    name = live_sessions._derived_id(sid, "expired")
    audit.record(Event(kind=EventKind.LOGIN, time=issuer.clock(), id=name))
    audit.flush()
    issuer.clock.advance(10_000)
    assert told_by(issuer, audit._keeper.note_expiries) == []
    assert [live.sid for live in signed_in(issuer)] == [sid]


def test_a_session_whose_refresh_the_log_missed_does_not_expire(issuer: IssuerApp) -> None:
    """What the store of sessions says counts; the log is put right."""
    grant = issuer.grant()
    issuer.services.audit.flush()
    issuer.clock.advance(1000)
    issuer.refresh(grant["refresh_token"], active_ago=0)
    issuer.services.audit._recorder._waiting.clear()  # the process died
    issuer.clock.advance(1000)
    (event,) = told_by(issuer, issuer.services.audit._keeper.note_expiries)
    assert said([event]) == [("session_refreshed", "success", "missed")]
    assert [live.sid for live in signed_in(issuer)] == [event.sid]


def test_who_did_it_is_told(issuer: IssuerApp) -> None:
    """An operator's command names its user."""
    with coming_from(Origin(actor="cli:root")):
        (revoked, disabled) = told_by(issuer, lambda: _disable(issuer))
    assert revoked.actor == disabled.actor == "cli:root"


def test_no_secret_is_written_down(issuer: IssuerApp) -> None:
    """Passwords, tokens, reset tokens, client secrets: none is in any row."""
    grant = issuer.grant()
    secrets = [PASSWORD, NEW_PASSWORD, SECRET, grant["access_token"], grant["refresh_token"]]
    issuer.login(USERNAME, PASSWORD + "x")
    issuer.login(PASSWORD, PASSWORD)
    issuer.refresh(grant["refresh_token"] + "x")
    token = issuer.forgot()
    assert token is not None
    issuer.post("/password/reset", {"token": token, "new_password": NEW_PASSWORD})
    issuer.ask("POST", "/introspect", data={"token": "x"}, headers=basic(SECRET, SECRET))
    issuer.services.audit.flush()
    with issuer.services.engine.connect() as connection:
        rows = [list(row) for row in connection.execute(sa.select(audit_log))]
    text = json.dumps(rows)
    assert len(rows) > 8
    for secret in [*secrets, token]:
        assert secret not in text
        assert secret.rpartition(".")[2] not in text


FORGERIES: dict[str, Callable[[ChainKey, str], str]] = {
    "without a seal": lambda _, text: text,
    "under another secret": lambda _, text: ChainKey.of("a guess at the secret").sealed(text),
    "under another secret, by our name": lambda key, text: ChainKey(key.id, b"guess").sealed(text),
    "changed behind the seal": lambda key, text: key.sealed(text).replace("victim", "others"),
    "sealed, of a kind that is never drafted": lambda key, text: key.sealed(
        text.replace("session_started", "roles_changed")
    ),
    "sealed, at no time": lambda key, text: key.sealed(text.replace("1.0", '"soon"')),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_draft_that_is_none_of_ours_is_left_out(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch, forgery: str
) -> None:
    """What somebody wrote to Redis is no word of ours, and holds no other up."""
    audit = issuer.services.audit
    text = Event(kind=EventKind.SESSION_STARTED, time=1.0, sub="victim", id="forged").to_json()
    honest = Event(kind=EventKind.SESSION_STARTED, time=1.0, sub=issuer.account.id)
    left = [
        LeftDraft("f", "created", FORGERIES[forgery](audit.keys.current, text)),
        LeftDraft("h", "created", audit.draft_of(honest).text),
    ]
    monkeypatch.setattr(issuer.services.families, "left_drafts", lambda: iter(left))
    audit._recorder.collect()
    told = {row["event_id"] for row in issuer.rows("audit_log")}
    assert honest.id in told
    assert "forged" not in told


@stacks.both_databases
def test_no_text_of_a_request_holds_up_the_log(issuer: IssuerApp) -> None:
    """What a database refuses, or has no room for, is written without; the body has all that is
    whole."""
    odd = "\0" + "\ud800" + "x" * 500
    event = Event(
        kind=EventKind.LOGIN,
        time=1.0,
        **dict.fromkeys(("sub", "client_id", "address", "user_agent", "request_id", "why"), odd),
    )
    issuer.services.audit.record(event)
    issuer.services.audit.flush()
    [row] = [row for row in issuer.rows("audit_log") if row["event_id"] == event.id]
    assert Event.from_json(row["body"]).client_id == odd.replace("\ud800", "\ufffd")
    assert row["client_id"].startswith("\ufffd\ufffdx")
