"""Who may look, who may act, and what ends that: every rule on every route."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest
import sqlalchemy as sa
from harness import stacks
from harness.console_client import OWN, ConsoleClient, is_signed_out
from harness.issuer_app import (
    NEW_PASSWORD,
    OTHER_ORIGIN,
    PASSWORD,
    USERNAME,
    IssuerApp,
    bearer,
)

from issuer.console import guard
from issuer.console.session import ConsoleSessions
from issuer.console.settings import CLIENT_ID
from issuer.database.tables import reauthentications
from issuer.families import Status

pytestmark = stacks.anywhere
SID = "s" * 22


def routes(issuer: IssuerApp, method: str) -> list[str]:
    """The console's paths for a method, without those that anybody may ask for."""
    return [
        re.sub(
            r"<(?:path:)?(\w+)>", lambda found: SID if found[1] == "sid" else "x", rule.rule
        ).removeprefix("/console")
        for rule in issuer.app.url_map.iter_rules()
        if rule.endpoint.startswith("console.")
        and rule.endpoint not in guard.OPEN
        and method in (rule.methods or ())
    ]


# --- viewing -------------------------------------------------------------------------------------


def test_without_the_setting_there_is_no_console(make_issuer: Callable[..., IssuerApp]) -> None:
    """It is off unless it is turned on."""
    assert make_issuer().ask("GET", "/console").status_code == 404


def test_nothing_is_shown_to_nobody(browser: ConsoleClient) -> None:
    """Every page without a sign-in leads to the form, with the way back; forms do too."""
    paths = routes(browser.issuer, "GET")
    assert len(paths) >= 7
    for path in paths:
        response = browser.get(path)
        assert response.status_code == 403 if path == "/gateways/live" else is_signed_out(response)
    for path in routes(browser.issuer, "POST"):
        assert is_signed_out(browser.post(path)), path
    assert "next=/console/keys" in browser.get("/keys").headers["Location"]


def test_another_role_is_not_enough(browser: ConsoleClient) -> None:
    """The right password of somebody else is told apart from a wrong one, and opens nothing."""
    browser.issuer.services.accounts.add("bob", PASSWORD, roles=("staff",))
    response = browser.sign_in("bob")
    assert response.status_code == 403
    assert "may not use the console" in response.text
    assert browser.cookie is None
    assert is_signed_out(browser.get())


def test_a_wrong_password_is_answered_as_a_wrong_name_is(browser: ConsoleClient) -> None:
    """Neither says which it was (ASVS 6.3.8)."""
    wrong, unknown = browser.sign_in(password="wrong"), browser.sign_in("nobody", "wrong")
    assert wrong.status_code == unknown.status_code == 400
    assert wrong.text.replace(USERNAME, "nobody") == unknown.text
    assert browser.cookie is None


def test_guesses_count_as_those_at_the_login_do(browser: ConsoleClient) -> None:
    """Five wrong ones here, and the right one is refused there: one count for both."""
    for _ in range(5):
        assert browser.sign_in(password="wrong").status_code == 400
    refused = browser.sign_in()
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert browser.issuer.login().status_code == 429


def test_a_form_with_nothing_in_it_is_asked_for_again(browser: ConsoleClient) -> None:
    """What is missing is no error of the server's."""
    for fields in ({"username": USERNAME}, {"username": "", "password": "x"}):
        assert browser.post("/sign-in", **fields).status_code == 400


def test_whoever_signs_in_gets_where_they_wanted(browser: ConsoleClient) -> None:
    """Within the console, and nowhere else."""
    assert browser.sign_in(next="/console/keys").headers["Location"] == "/console/keys"
    for away in (
        "https://evil.example/console/",
        "//evil.example/console",
        "/console//evil.example",
        "/console/../login",
        "/console/\\evil.example",
        "/login",
        "/consolation",
        "",
    ):
        assert browser.sign_in(next=away).headers["Location"] == "/console/", away


def test_the_cookie_is_for_this_host_and_no_script(browser: ConsoleClient) -> None:
    """RFC 10017; ASVS 3.3: Secure, HttpOnly, SameSite=Strict, `__Host-`, until the browser ends."""
    cookie = browser.sign_in().headers["Set-Cookie"]
    assert cookie.startswith("__Host-gatepass_console=")
    attributes = set(cookie.split("; ")[1:])
    assert attributes == {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"}


def test_every_answer_forbids_what_is_not_ours(browser: ConsoleClient) -> None:
    """Pages, redirects, refusals and files carry the policy, and nothing of a person is cached."""
    browser.signed_in()
    for path in ("/", "/sign-in", "/people/x", "/gateways/live", "/static/console.css"):
        headers = browser.get(path).headers
        assert headers["Content-Security-Policy"] == (
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:;"
            " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        if "static" not in path:
            assert headers["Cache-Control"] == "no-store"


def test_tokens_of_an_app_open_nothing_here_nor_the_cookie_there(browser: ConsoleClient) -> None:
    """A refresh token is no cookie of the console, a cookie is no refresh token, a form neither."""
    issuer = browser.issuer
    browser.cookie = issuer.grant()["refresh_token"]
    assert is_signed_out(browser.get())
    browser.signed_in()
    form, cookie = browser.form_token(), browser.cookie or ""
    for token in (cookie, form):
        assert issuer.refresh(token).status_code == 400
    browser.cookie = form
    assert is_signed_out(browser.get())
    browser.cookie = cookie
    assert browser.get().status_code == 200


# --- what ends a session -------------------------------------------------------------------------


def signed_out_by(browser: ConsoleClient, change: Callable[[IssuerApp], object]) -> bool:
    """Whether a change ends the session at once."""
    browser.signed_in()
    assert browser.get().status_code == 200
    change(browser.issuer)
    return is_signed_out(browser.get()) and browser.get("/gateways/live").status_code == 403


def test_a_lost_role_ends_it(browser: ConsoleClient) -> None:
    """Roles are read at every request."""
    sub = browser.issuer.account.id
    accounts = browser.issuer.services.accounts
    assert signed_out_by(browser, lambda _: accounts.set_roles(sub, ("staff",), expires=2**40))


def test_a_disabled_account_ends_it(browser: ConsoleClient) -> None:
    """ASVS 7.4.2."""
    sub = browser.issuer.account.id
    accounts = browser.issuer.services.accounts
    assert signed_out_by(browser, lambda _: accounts.set_enabled(sub, False, expires=2**40))


def test_a_new_password_ends_it(browser: ConsoleClient) -> None:
    """By the version in SQL, whatever the store of families knows."""

    def change(issuer: IssuerApp) -> None:
        token = issuer.grant()["access_token"]
        assert issuer.change_password(token, PASSWORD, NEW_PASSWORD).status_code == 200

    assert signed_out_by(browser, change)


def test_one_that_must_prove_itself_anew_opens_nothing(browser: ConsoleClient) -> None:
    """What an anomaly's response asks of any session counts here as well."""

    def doubt(issuer: IssuerApp) -> None:
        token = issuer.grant()["access_token"]
        listed = issuer.sessions(token).get_json()["sessions"]
        [sid] = [each["sid"] for each in listed if each["client_id"] == CLIENT_ID]
        now = int(issuer.clock())
        demand = sa.insert(reauthentications).values(
            sid=sid, sub=issuer.account.id, rule="moved", since=now, kept_until=now + 60
        )
        with issuer.services.engine.begin() as connection:
            connection.execute(demand)

    assert signed_out_by(browser, doubt)


def test_its_owner_can_end_it_from_an_app(browser: ConsoleClient) -> None:
    """It is a session as any other: listed, and ended by its `sid`."""

    def end(issuer: IssuerApp) -> None:
        token = issuer.grant()["access_token"]
        listed = issuer.sessions(token).get_json()["sessions"]
        [sid] = [each["sid"] for each in listed if each["client_id"] == CLIENT_ID]
        answer = issuer.ask("DELETE", f"/sessions/{sid}", headers=bearer(token))
        assert answer.status_code == 200

    assert signed_out_by(browser, end)


def test_a_quarter_of_an_hour_without_a_page_ends_it(browser: ConsoleClient) -> None:
    """What the page of gateways fetches by itself is no activity; a page is."""
    browser.signed_in()
    for _ in range(4):
        browser.issuer.clock.advance(600)
        assert browser.get().status_code == 200
    for _ in range(3):
        browser.issuer.clock.advance(299)
        assert browser.get("/gateways/live").status_code == 200
    browser.issuer.clock.advance(3)
    assert browser.get("/gateways/live").status_code == 403
    assert is_signed_out(browser.get())


def test_a_working_day_ends_it(browser: ConsoleClient) -> None:
    """However busy somebody is."""
    browser.signed_in()
    for _ in range(8 * 6 - 1):
        browser.issuer.clock.advance(600)
        assert browser.get("/keys").status_code == 200
    browser.issuer.clock.advance(600)
    assert is_signed_out(browser.get())


def test_a_copied_cookie_shows(browser: ConsoleClient) -> None:
    """The rules of refresh tokens: two who go on from one cookie end the session (RFC 9700)."""
    browser.signed_in()
    copied = browser.cookie or ""
    for _ in range(2):
        browser.issuer.clock.advance(60)
        assert browser.get().status_code == 200
    thief = ConsoleClient(browser.issuer)
    thief.cookie = copied
    assert is_signed_out(thief.get())
    assert is_signed_out(browser.get())


def test_signing_out_ends_it_for_every_copy_of_the_cookie(browser: ConsoleClient) -> None:
    """In the store, and not in the browser alone; at any time, without a password (ASVS 7.4.1)."""
    browser.signed_in()
    copied = browser.cookie or ""
    browser.issuer.clock.advance(400)
    assert browser.get("/keys").status_code == 200
    copied = browser.cookie or copied
    assert is_signed_out(browser.send("/sign-out"))
    assert browser.cookie is None
    browser.cookie = copied
    assert is_signed_out(browser.get())


def test_another_sign_in_ends_the_session_that_it_replaces(browser: ConsoleClient) -> None:
    """ASVS 7.2.4: a copy of the former cookie is worth nothing; one that failed ends nothing."""
    browser.signed_in()
    former = browser.cookie or ""
    assert browser.sign_in(password="wrong").status_code == 400
    assert browser.get().status_code == 200
    browser.signed_in()
    assert browser.get().status_code == 200
    thief = ConsoleClient(browser.issuer)
    thief.cookie = former
    assert is_signed_out(thief.get())


# --- changing something --------------------------------------------------------------------------


def acting(browser: ConsoleClient) -> str:
    """A session of an app, and the path of the form that ends it."""
    issuer = browser.issuer
    sid = issuer.opened(issuer.grant()["refresh_token"]).sid
    return f"/people/{issuer.account.id}/sessions/{sid}/end"


def is_live(browser: ConsoleClient, path: str) -> bool:
    """Whether the session of such a path goes on."""
    _, _, sub, _, sid, _ = path.split("/")
    family = browser.issuer.services.families.get(sub, sid)
    return family is not None and family.status is Status.LIVE


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": OTHER_ORIGIN},
        {"Origin": "null"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
        {**OWN, "Sec-Fetch-Site": "same-site"},
        {**OWN, "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=["silent", "listed", "opaque", "foreign", "same-site", "cross-site", "typed"],
)
def test_a_form_of_another_page_is_refused(
    browser: ConsoleClient, headers: Mapping[str, str]
) -> None:
    """Whoever signed in, whatever else is right; not even an origin that apps may use."""
    browser.signed_in()
    path = acting(browser)
    form = browser.form_token()
    paths = [*routes(browser.issuer, "POST"), path]
    for each in paths:
        assert browser.post(each, headers, form=form).status_code == 403, each
    signing_in = browser.post("/sign-in", headers, username=USERNAME, password=PASSWORD)
    assert signing_in.status_code == 403
    assert is_live(browser, path)


def test_a_form_needs_the_token_of_its_session(browser: ConsoleClient) -> None:
    """None, nonsense, the cookie, or one of another session of the same person: refused."""
    other = ConsoleClient(browser.issuer).signed_in()
    browser.signed_in()
    path = acting(browser)
    for form in ("", "nonsense", browser.cookie or "", other.form_token()):
        for each in (*routes(browser.issuer, "POST"), path):
            assert browser.post(each, form=form).status_code == 403, each
    assert is_live(browser, path)
    assert browser.send(path).status_code == 303
    assert not is_live(browser, path)


def test_an_old_sign_in_is_asked_for_the_password_and_then_goes_on(browser: ConsoleClient) -> None:
    """ASVS 7.5.3: after five minutes nothing changes until the password is given again."""
    browser.signed_in()
    path, first = acting(browser), browser.cookie
    browser.issuer.clock.advance(299)
    assert browser.send("/people/x/end-all").status_code == 404
    browser.issuer.clock.advance(1)
    asked = browser.send(path)
    assert asked.status_code == 403
    assert "Confirm that it is you" in asked.text
    assert is_live(browser, path)
    wrong = browser.send(path, password="wrong")
    assert wrong.status_code == 403
    assert "wrong" in wrong.text
    assert is_live(browser, path)
    assert browser.send(path, password=PASSWORD).status_code == 303
    assert not is_live(browser, path)
    # ASVS 7.2.4: in a new session, and the one before has ended.
    thief = ConsoleClient(browser.issuer)
    thief.cookie = first or ""
    assert is_signed_out(thief.get())
    assert browser.send("/people/x/end-all").status_code == 404


def test_every_change_needs_a_fresh_sign_in(browser: ConsoleClient) -> None:
    """Whichever route it is; signing out alone is always possible."""
    browser.signed_in()
    browser.issuer.clock.advance(301)
    form = browser.form_token()
    for path in set(routes(browser.issuer, "POST")) - {"/sign-out"}:
        assert "Confirm that it is you" in browser.post(path, form=form).text, path
    assert is_signed_out(browser.post("/sign-out", form=form))


def test_guessing_the_password_at_a_change_is_limited(browser: ConsoleClient) -> None:
    """Whoever has a stolen cookie does not get a thousand tries."""
    browser.signed_in()
    path = acting(browser)
    browser.issuer.clock.advance(301)
    answers = [browser.send(path, password="wrong").status_code for _ in range(6)]
    assert answers == [403] * 5 + [429]
    assert browser.send(path, password=PASSWORD).status_code == 429
    assert is_live(browser, path)


def test_a_route_that_nobody_thought_of_is_closed(
    browser: ConsoleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard is in front of all: what is not named as open is not."""
    for endpoint in sorted(guard.OPEN - {"console.static"}):
        monkeypatch.setattr(guard, "OPEN", guard.OPEN - {endpoint})
        path = "/sign-in"
        answer = browser.get(path) if endpoint.endswith("form") else browser.post(path)
        assert is_signed_out(answer), endpoint


# --- mutants -------------------------------------------------------------------------------------


def _foreign_form(browser: ConsoleClient) -> None:
    test_a_form_of_another_page_is_refused(browser, {"Origin": OTHER_ORIGIN})


MISTAKES: dict[str, tuple[object, str, object, Callable[[ConsoleClient], None]]] = {
    "never-asked-again": (
        ConsoleSessions,
        "is_fresh",
        lambda *_: True,
        test_an_old_sign_in_is_asked_for_the_password_and_then_goes_on,
    ),
    "any-form": (
        ConsoleSessions,
        "is_form_of",
        lambda *_: True,
        test_a_form_needs_the_token_of_its_session,
    ),
    "any-role": (ConsoleSessions, "_admits", lambda *_: True, test_a_lost_role_ends_it),
    "all-is-activity": (
        guard,
        "IN_THE_BACKGROUND",
        frozenset(),
        test_a_quarter_of_an_hour_without_a_page_ends_it,
    ),
    "any-page": (guard, "require_own_page", lambda: None, _foreign_form),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_caught(
    browser: ConsoleClient, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    """Each rule taken away makes the test of it fail."""
    owner, name, changed, test = MISTAKES[mistake]
    monkeypatch.setattr(owner, name, changed)
    with pytest.raises(AssertionError):
        test(browser)
