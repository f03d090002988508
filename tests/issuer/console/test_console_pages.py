"""What the pages show: sessions, history, keys, sizes, events, and no more than that."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from harness import stacks
from harness.console_client import ConsoleClient
from harness.console_history import a_day, put_events, put_session, put_sizes
from harness.issuer_app import IssuerApp
from harness.redis_server import RedisServer
from structlog.testing import capture_logs

from issuer.accounts import Account, HashingBusy
from issuer.audit import Event, EventKind, Outcome
from issuer.console import queries
from issuer.console.queries import PAGE
from issuer.journal import Reason
from keys import KeyState, rotate
from revocation import Entry

DAY = 86_400
OTHER_PASSWORD = "fourteen copper ladders"


class Words(HTMLParser):
    """The text of a page, without its markup, and the rectangles of its plots."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.boxes: list[str] = []
        self.text = ""
        self.feed(page)
        self.text = " ".join(self.text.split())

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "rect":
            self.boxes.append(dict(attrs)["class"] or "")


# --- people --------------------------------------------------------------------------------------


@stacks.both_databases
def test_who_is_signed_in_now(console: ConsoleClient) -> None:
    """Sessions that go on, those first who were seen last; of no others."""
    issuer, now = console.issuer, console.issuer.clock()
    accounts = issuer.services.accounts
    bob = accounts.add("bob", OTHER_PASSWORD)
    gone = accounts.add("gone", "fourteen copper ladders")
    engine = issuer.services.engine
    put_session(engine, bob.id, "b" * 22, now, last_seen=int(now) - 500)
    put_session(engine, issuer.account.id, "a" * 22, now, address="2001:db8::7")
    put_session(engine, issuer.account.id, "c" * 22, now, ends=int(now))
    put_session(engine, gone.id, "d" * 22, now, credential_version=0)
    live = queries.live_sessions(engine, now)
    assert (live.people, live.sessions) == (2, 2)
    assert [each.sid[0] for each in live.page] == ["a", "b"]
    assert [each.username for each in queries.live_sessions(engine, now, name="bo").page] == ["bob"]
    assert queries.live_sessions(engine, now, name="%").page == []
    accounts.set_enabled(bob.id, False, expires=2**40)
    assert queries.live_sessions(engine, now).people == 1
    page = Words(console.page("/people")).text
    assert "2001:db8::7" in page
    assert "bob" not in page


@stacks.anywhere
def test_people_are_found_by_how_their_names_begin(console: ConsoleClient) -> None:
    """Disabled ones, and those without a session, too; what is typed is no pattern."""
    accounts = console.issuer.services.accounts
    for name in ("carol", "caroline", "dave"):
        accounts.add(name, "fourteen copper ladders")
    accounts.set_enabled(accounts.add("carl", "fourteen copper ladders").id, False, expires=2**40)
    page = Words(console.page("/people?name=CAR")).text
    assert "carl disabled" in page
    assert "caroline" in page
    assert "dave" not in page
    assert "No account begins so" in console.page("/people?name=c_rol")
    assert "<script>" not in console.get("/people?name=<script>").text
    for number in ("0", "-1", "x", "99999999999", "²"):
        assert console.get(f"/people?page={number}").status_code == 200


@stacks.anywhere
def test_many_sessions_come_on_several_pages(console: ConsoleClient) -> None:
    """Fifty on each, and links between them."""
    now = console.issuer.clock()
    for number in range(PAGE + 5):
        sid = f"{number:022}"
        put_session(console.issuer.services.engine, console.issuer.account.id, sid, now)
    first, second = console.page("/people"), console.page("/people?page=2")
    assert "Page 1 of 2" in first
    assert "page=2" in first
    assert first.count("<time") > second.count("<time") > 0


@stacks.anywhere
def test_a_person_has_sessions_and_a_history(console: ConsoleClient) -> None:
    """What goes on, with a button for each; and what the log tells, redacted rows included."""
    issuer = console.issuer
    grant = issuer.grant(label="Kitchen <b>tablet</b>")
    event = Event(
        kind=EventKind.PASSWORD_CHANGED,
        time=issuer.clock(),
        sub=issuer.account.id,
        actor="cli:root",
        details={"note": "<i>x</i>"},
    )
    put_events(issuer.services.engine, [event])
    path = f"/people/{issuer.account.id}"
    raw = console.get(path).text
    assert "<b>tablet" not in raw
    assert "<i>x" not in raw
    page = Words(raw).text
    assert "Kitchen <b>tablet</b>" in page
    assert issuer.opened(grant["refresh_token"]).sid in page
    assert "this one" in page
    assert "password_changed" in page
    assert "cli:root" in page
    assert console.get("/people/nobody").status_code == 404


# --- keys ----------------------------------------------------------------------------------------


@stacks.anywhere
def test_keys_are_drawn_from_their_making_to_their_end(console: ConsoleClient) -> None:
    """A row for each, its states one after the other; the table tells the same."""
    services, clock = console.issuer.services, console.issuer.clock
    policy = services.settings.rotation_policy()
    ring = services.keys.ring
    for passed in (DAY - policy.lead + 1, policy.lead + 1):
        clock.advance(passed)
        ring = rotate(ring, int(clock()), policy)
    services.key_store.update(lambda _: ring)
    services.keys.tick()
    assert {key.state for key in ring.keys} == {KeyState.ACTIVE, KeyState.RETIRING}
    console.signed_in()
    words = Words(console.page("/keys"))
    for key in ring.keys:
        assert key.kid in words.text
    # Each active and retiring; the successor was pending; and one of each in the legend.
    counts = {kind: words.boxes.count(kind) for kind in ("pending", "active", "retiring", "now")}
    assert counts == {"pending": 2, "active": 4, "retiring": 4, "now": 2}


# --- the denylist, failures and blocks -----------------------------------------------------------


@stacks.both_databases
def test_failures_and_blocks_are_counted_by_hour(console: ConsoleClient) -> None:
    """A login counts where it failed, in the hour in which it did; of a flood, all of it."""
    engine = console.issuer.services.engine
    hour = int(console.issuer.clock()) // 3600 * 3600
    failed = {"kind": EventKind.LOGIN, "outcome": Outcome.FAILURE}
    put_events(
        engine,
        [
            Event(**failed, time=hour - 0.001),
            Event(**failed, time=float(hour), details={"more": 469}),
            Event(kind=EventKind.LOGIN, time=float(hour)),
            Event(kind=EventKind.SESSION_STARTED, time=float(hour)),
            Event(kind=EventKind.REUSE_DETECTED, time=hour + 0.5),
            Event(kind=EventKind.ANOMALY, time=hour + 0.7),
            Event(kind=EventKind.REFRESH_REFUSED, time=hour - 7 * 3600.0),
        ],
    )
    assert queries.trouble(engine, hour - 3600, hour + 3600, 3600) == {
        (hour - 3600, "login"): 1,
        (hour, "login"): 470,
        (hour, "reuse_detected"): 1,
        (hour, "anomaly"): 1,
    }
    words = Words(console.page())
    assert "472 failures, 1 block and 1 alarm, last 24 hours." in words.text
    assert words.boxes.count("failed") == 3 + 1  # the legend's
    assert words.boxes.count("blocked") == 1 + 1
    assert words.boxes.count("alarmed") == 1 + 1


@stacks.anywhere
def test_the_denylist_is_told_now_and_over_time(console: ConsoleClient) -> None:
    """By kind as it is, and as a line of what was noted each minute."""
    services, now = console.issuer.services, console.issuer.clock()
    entry = Entry.session("x" * 22, int(now) + 300)
    services.revoker.revoke(entry, reason=Reason.OPERATOR)
    put_sizes(services.engine, now, lambda hours: 400 if 5 < hours < 6 else 3)
    page = console.page("/?window=24h")
    assert "1 revocation in force now; at most 400" in Words(page).text
    assert "1 by session" in Words(page).text
    assert 'class="line" d="M' in page
    assert "at most 3" in console.page("/?window=1h")
    assert "Last 24 hours" in console.page("/?window=nonsense")


@stacks.anywhere
def test_a_quiet_issuer_says_so(console: ConsoleClient) -> None:
    """Plots with nothing to show say that, and are no errors."""
    for window in ("1h", "24h", "7d"):
        words = Words(console.page(f"/?window={window}")).text
        assert "Nothing was refused or blocked." in words
        assert "0 revocations in force now" in words


# --- the audit log -------------------------------------------------------------------------------


@stacks.anywhere
def test_the_page_of_the_log_takes_what_people_type(console: ConsoleClient) -> None:
    """Names for people, times as browsers write them; what is wrong is said, and is no error."""
    issuer = console.issuer
    put_events(issuer.services.engine, list(a_day(issuer.account.id, issuer.clock())))
    page = Words(console.page(f"/audit?person={issuer.account.username}&kind=login")).text
    assert "request-of-30" in page
    assert "session_started ses" not in page
    earlier = console.page("/audit?outcome=failure")
    assert "before=" in earlier
    assert "Nothing is like that" in console.page("/audit?since=2099-01-01T00:00")
    assert "Nothing is like that" in console.page("/audit?person=zoe")
    assert "no such event" in console.page("/audit?kind=nonsense")
    assert "Since is not a time" in console.page("/audit?since=yesterday")


@stacks.both_databases
def test_no_query_is_an_error_of_the_servers(console: ConsoleClient) -> None:
    """Numbers beyond any, characters that no database takes, times before any: an answer."""
    for query in (
        "/audit?kind=%00",
        "/audit?person=%00%ff",
        "/audit?before=x",
        "/audit?before=9999999999999999999",
        "/audit?before=999999999999999999",
        "/audit?sid=é",
        "/audit?until=0001-01-01",
        "/audit?since=9999-12-31T23:59",
        "/people?name=%00",
        "/people?page=9999999",
        "/?window=%00",
    ):
        assert console.get(query).status_code == 200, query
    for path in ("/people/%00", "/people/%ff%fe", f"/people/{'x' * 400}"):
        assert console.get(path).status_code == 404, path


@stacks.anywhere
def test_a_failed_login_is_in_the_history_of_whose_name_was_tried(console: ConsoleClient) -> None:
    """And what was tried with a name that nobody has is found by that name."""
    issuer = console.issuer
    issuer.login(password="wrong")
    issuer.login("zoe", "wrong")
    issuer.services.audit.flush()
    assert "wrong_password" in console.page(f"/people/{issuer.account.id}")
    assert "unknown_account" in console.page("/audit?person=Zoe")


@pytest.mark.parametrize("stack", ["sqlite-redis"], indirect=True)
def test_a_store_that_is_gone_is_said_so_in_a_page(
    make_issuer: Callable[..., IssuerApp], private_redis: RedisServer
) -> None:
    """503 with `Retry-After`, under the same policy as any page, and a line in the log."""
    url = private_redis.unix_url
    console = ConsoleClient(make_issuer(console={"enabled": True}, redis_url=url)).signed_in()
    private_redis.kill()
    with capture_logs() as lines:
        answer = console.get("/keys")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "A store does not answer just now" in answer.text
    [said] = [line for line in lines if line["event"] == "unavailable"]
    assert (said["log_level"], said["path"]) == ("warning", "/console/keys")
    assert said["error"]


def test_too_many_sign_ins_at_once_are_told_to_come_back(
    console: ConsoleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room in the queue for hashing: 503 with `Retry-After`, and a line in the log."""

    def busy(account: Account, password: str, source: str) -> None:
        raise HashingBusy("busy")

    monkeypatch.setattr(console.issuer.services.accounts, "verify", busy)
    with capture_logs() as lines:
        answer = console.sign_in()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert {"event": "busy", "log_level": "info", "path": "/console/sign-in"} in lines
