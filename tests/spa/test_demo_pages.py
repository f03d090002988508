"""The demo's pages in Chromium, against the real issuer and Redis, behind a real gateway: Caddy."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.browser import (
    IDLE,
    PASSWORD,
    BrowserWorld,
    Person,
    Visitor,
    answers_lost,
)
from harness.browser_gateway import asks_nobody, in_front_of
from harness.demo_pages import fill_change, go, near_the_absolute_end
from harness.forward_auth import RealGateway
from harness.gatepass_command import run_program
from harness.processes import monotonic, short_directory, until
from harness.running_demo import BOUND
from harness.token_probe import Tokens
from playwright.sync_api import Locator, Page, Response, Route, expect

NEW_PASSWORD = "forty purple lanterns adrift"
REFRESH = "/refresh"
COOKIE = "__Host-gatepass_refresh"
A_SECOND = 1000

# Notes, at every frame, whether the sign-in form can be seen.
WATCH_FORM = """
window.formSeen = 0;
(function look() {
  const form = document.querySelector("#view-sign-in");
  if (form && form.checkVisibility()) window.formSeen += 1;
  requestAnimationFrame(look);
})();
"""


@pytest.fixture(scope="module")
def world() -> Iterator[BrowserWorld]:
    """A demo whose pages, issuer and API are all behind Caddy."""
    directory = short_directory("gp-web-")
    with BrowserWorld(directory, gated=True) as running:
        yield running
    shutil.rmtree(directory)


def verdict_is(page: Page, text: str) -> None:
    """What the gateway said last."""
    expect(page.locator("#verdict")).to_have_text(text)


def is_in(page: Page) -> None:
    """The page shows the inside."""
    expect(page.get_by_role("heading", name="What the gateway says")).to_be_visible()


def is_out(page: Page, notice: str, timeout: float | None = None) -> None:
    """The page shows the sign-in form, and why."""
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=timeout)
    expect(page.get_by_role("status").filter(has_text=notice)).to_be_visible()


def sid_of(page: Page) -> str:
    """The session that the page shows."""
    return page.locator("#sid").text_content() or ""


def requests_of(page: Page) -> list[str]:
    """The paths that a page asks for from now on."""
    paths: list[str] = []
    page.on("request", lambda request: paths.append(request.url.split("/", 3)[3]))
    return paths


# --- sign in, reload, refresh ------------------------------------------------------------------


def test_a_person_signs_in_and_the_gateway_lets_them_through(ann: Visitor) -> None:
    """After the form comes the page that asks the protected API, and it answers."""
    tab = ann.tab()
    expect(tab.get_by_label("User name")).to_be_focused()
    ann.sign_in(tab)
    verdict_is(tab, "Let through")
    expect(tab.locator("#answers tr").nth(2)).to_contain_text("200")
    assert ann.problems == []


def test_a_wrong_password_is_said_so_and_no_more(ann: Visitor) -> None:
    """The form says that name or password is wrong, also aloud, and can be used again."""
    tab = ann.tab()
    tab.get_by_label("User name").fill(ann.person.username)
    tab.get_by_label("Password", exact=True).fill("not the password at all")
    tab.get_by_role("button", name="Sign in").click()
    expect(tab.get_by_role("alert")).to_have_text("User name or password is wrong.")
    expect(tab.get_by_label("Password", exact=True)).to_be_focused()
    assert ann.cookies() == {}
    ann.sign_in(tab)


def test_too_many_attempts_are_told_with_the_time_to_wait(ann: Visitor) -> None:
    """The real limit: a countdown for the eye, and the number once for the ear."""
    tab = ann.tab()
    alert = tab.get_by_role("alert")
    for _ in range(5):
        sign_in_wrongly(tab, ann)
        expect(alert).to_have_text("User name or password is wrong.")
    sign_in_wrongly(tab, ann)
    expect(alert).to_contain_text(re.compile(r"^Too many attempts. You can try again in 0:\d\d"))
    expect(alert.locator(".visually-hidden")).to_have_text(re.compile(r"^(60|5\d|4\d) seconds$"))
    expect(alert.locator("[aria-hidden=true]")).to_have_text(re.compile(r"^0:[345]\d$"))
    first = alert.locator("[aria-hidden=true]").text_content() or ""
    expect(alert.locator("[aria-hidden=true]")).not_to_have_text(first)


def sign_in_wrongly(tab: Page, visitor: Visitor) -> None:
    """Once, and wait for the answer."""
    tab.get_by_label("User name").fill(visitor.person.username)
    tab.get_by_label("Password", exact=True).fill("not the password at all")
    with tab.expect_response("**/login"):
        tab.get_by_role("button", name="Sign in").click()


def test_a_limit_signs_nobody_out_and_is_over_in_time(ann: Visitor) -> None:
    """At a password change and at a refresh; what counts down ends with what can be done."""
    tab = ann.tab()
    ann.sign_in(tab)

    def limited(seconds: int) -> Callable[[Route], None]:
        body = {"error": "too_many_requests", "error_description": "wait"}
        told = {"Retry-After": f"{seconds}"}
        return lambda route: route.fulfill(status=429, json=body, headers=told)

    tab.route("**/password", limited(2))
    go(tab, "Password")
    fill_change(tab, PASSWORD, NEW_PASSWORD)
    alert = tab.get_by_role("alert")
    expect(alert).to_contain_text("Nothing was changed; you can try again in 0:0")
    expect(alert).to_have_text("You can try again now.")
    # Longer than the module waits by itself before it tells the page.
    tab.route(f"**{REFRESH}", limited(6))
    tab.reload()
    expect(tab.get_by_role("status").filter(has_text="It is asked again in 0:0")).to_be_visible()
    tab.unroute(f"**{REFRESH}")
    change = tab.get_by_role("heading", name="Change your password")
    expect(change).to_be_visible(timeout=15 * A_SECOND)


def test_the_demo_answers_under_its_other_name(ann: Visitor, world: BrowserWorld) -> None:
    """`localhost` is the same machine, with a session of its own."""
    tab = ann.tab(origin=world.issuer.replace("127.0.0.1", "localhost"))
    ann.sign_in(tab)
    verdict_is(tab, "Let through")
    expect(ann.tab().get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("delay_ms", [0, 700])
def test_a_reload_restores_the_session_without_showing_the_form(
    ann: Visitor, delay_ms: int
) -> None:
    """At no frame is the form to be seen, however long the issuer takes to answer."""
    tab = ann.signed_in()
    sid = sid_of(tab)
    tab.add_init_script(WATCH_FORM)
    tab.route("**" + REFRESH, lambda route: (tab.wait_for_timeout(delay_ms), route.continue_()))
    tab.reload()
    is_in(tab)
    assert tab.evaluate("window.formSeen") == 0
    assert sid_of(tab) == sid
    verdict_is(tab, "Let through")


def test_a_form_that_flashes_is_noticed(ann: Visitor) -> None:
    """A page that shows the form until it knows better fails the watch of the test above."""
    tab = ann.signed_in()

    def hasty(route: Route) -> None:
        answer = route.fetch()
        body = answer.text()
        assert 'show("restoring")' in body
        route.fulfill(response=answer, body=body.replace('show("restoring")', 'show("sign-in")'))

    tab.add_init_script(WATCH_FORM)
    tab.route("**/app.js", hasty)
    tab.route("**" + REFRESH, lambda route: (tab.wait_for_timeout(300), route.continue_()))
    tab.reload()
    is_in(tab)
    assert tab.evaluate("window.formSeen") > 0


def test_without_a_session_the_form_is_seen_at_once(ann: Visitor) -> None:
    """The watch of the test above sees a form where there is one; and nobody asks the issuer."""
    tab = ann.context.new_page()
    tab.add_init_script(WATCH_FORM)
    paths = requests_of(tab)
    tab.goto(ann.world.issuer)
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    tab.wait_for_function("window.formSeen > 0")
    assert "refresh" not in paths


def test_the_token_is_renewed_before_it_ends(ann: Visitor, world: BrowserWorld) -> None:
    """An hour passes, five minutes at a time; no call is refused, and the person sees nothing."""
    tab = ann.signed_in()
    refused: list[Response] = []
    tab.on("response", lambda answer: refused.append(answer) if answer.status >= 400 else None)
    cookie = ann.cookies()[COOKIE]
    for _ in range(4):
        with tab.expect_response("**" + REFRESH):
            world.moved(280)
        with tab.expect_response("**/api"):
            pass
    verdict_is(tab, "Let through")
    assert [answer.url for answer in refused] == []
    assert ann.cookies()[COOKIE] != cookie


def test_a_lost_answer_to_a_refresh_logs_nobody_out(ann: Visitor, world: BrowserWorld) -> None:
    """The issuer has rotated, the answer is cut off; the next attempt gets the same successor."""
    tab = ann.signed_in()
    sid = sid_of(tab)
    with answers_lost(tab, REFRESH) as lost:
        world.moved(290)
        for _ in until(10, "a lost answer", pause=0):
            tab.wait_for_timeout(50)
            if lost:
                break
    world.moved(60)
    verdict_is(tab, "Let through")
    tab.reload()
    is_in(tab)
    assert sid_of(tab) == sid


# --- the ends of a session ---------------------------------------------------------------------


def test_the_idle_end_is_warned_of_and_can_be_averted(ann: Visitor, world: BrowserWorld) -> None:
    """Two minutes ahead the page asks; "stay signed in" gives the whole time again."""
    tab = ann.signed_in()
    world.moved(IDLE - 115)
    dialog = tab.get_by_role("alertdialog")
    expect(dialog).to_contain_text("Your session ends in 1:")
    expect(tab.get_by_role("button", name="Stay signed in")).to_be_focused()
    tab.get_by_role("button", name="Stay signed in").click()
    expect(dialog).to_be_hidden()
    expect(tab.locator("#idle-left")).to_contain_text("29:5")
    world.moved(IDLE - 200)
    verdict_is(tab, "Let through")


def test_a_key_press_is_answer_enough(ann: Visitor, world: BrowserWorld) -> None:
    """Escape closes the question and says that the person is there."""
    tab = ann.signed_in()
    world.moved(IDLE - 60)
    expect(tab.get_by_role("alertdialog")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("alertdialog")).to_be_hidden()
    expect(tab.locator("#idle-left")).to_contain_text("29:5")


def test_a_key_pressed_while_a_refresh_is_under_way_is_reported_after_it(
    ann: Visitor, world: BrowserWorld
) -> None:
    """The refresh was sent before the person did anything; another one follows at once."""
    tab = ann.signed_in()
    tab.route("**" + REFRESH, lambda route: (tab.wait_for_timeout(800), route.continue_()))
    with tab.expect_request("**" + REFRESH):
        world.moved(IDLE - 20)
    tab.keyboard.press("Shift")
    expect(tab.locator("#idle-left")).to_contain_text("29:5")
    expect(tab.get_by_role("alertdialog")).to_be_hidden()


def test_without_activity_the_session_ends(ann: Visitor, world: BrowserWorld) -> None:
    """Calls in the background are no activity: at the idle end the page is out, and says why."""
    tab = ann.signed_in()
    other = ann.tab()
    is_in(other)
    for _ in range(5):
        world.moved(340)
    expect(tab.get_by_role("alertdialog")).to_be_visible()
    world.moved(110)
    for page in (tab, other):
        is_out(page, "nothing happened for a while")


def test_at_the_absolute_end_the_session_ends(ann: Visitor, world: BrowserWorld) -> None:
    """Hours of activity end with a warning that cannot be averted, and then the session.

    The warning has the keyboard to itself until it is answered.
    """
    tab = ann.signed_in()
    near_the_absolute_end(tab, world)
    dialog, understood = (
        tab.get_by_role("alertdialog"),
        tab.get_by_role("button", name="Understood"),
    )
    expect(understood).to_be_focused()
    assert tabbed_through(tab, 6) == {"stay", "leave"}
    tab_to(tab, understood)
    tab.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    assert tab.evaluate("document.activeElement.closest('dialog')") is None
    world.moved(250)
    is_out(tab, "Your session has reached its end")


# Notes what a screen reader is told of the seconds that are left.
WATCH_NEWS = """() => {
  window.news = [];
  const place = document.querySelector("#expiry-news");
  new MutationObserver(() => place.textContent && window.news.push(place.textContent))
    .observe(place, {childList: true});
}"""


def test_the_last_seconds_are_spoken(ann: Visitor, world: BrowserWorld) -> None:
    """A screen reader hears of the last minute, half minute and ten seconds, of none between."""
    tab = ann.signed_in()
    go(tab, "Password")
    tab.evaluate(WATCH_NEWS)
    world.moved(IDLE - 100)
    tab.get_by_role("alertdialog").wait_for()
    ann.hold()
    tab.route("**" + REFRESH, lambda route: None)  # from here on the page's clock alone counts
    ann.context.clock.run_for(98 * A_SECOND)
    assert tab.evaluate("window.news") == [f"{left} seconds left." for left in (60, 30, 10)]


# --- devices -----------------------------------------------------------------------------------


def beside(world: BrowserWorld, person: Person) -> tuple[Visitor, Page]:
    """The same person at another browser, signed in."""
    visitor = world.visitor(person)
    return visitor, visitor.signed_in()


def test_another_device_is_signed_out_and_refused_at_once(
    ann: Visitor, world: BrowserWorld
) -> None:
    """Its gateway says "revoked" within a second or so, and its page shows that and the form."""
    tab = ann.signed_in()
    _, other = beside(world, ann.person)
    verdict_is(other, "Let through")
    go(tab, "Devices")
    expect(tab.locator("#devices li")).to_have_count(2)
    expect(tab.locator("#devices li").first).to_contain_text("This device")
    tab.locator("#devices li").nth(1).get_by_role("button").click()
    is_out(other, "This session was ended", timeout=3 * A_SECOND)
    expect(other.locator("#answers")).to_contain_text("The token has been revoked")
    expect(other.locator("#log #verdict")).to_have_text("Refused")
    expect(other.locator("#log #verdict-text")).to_contain_text("The token has been revoked")
    expect(other.get_by_label("User name")).to_have_value(ann.person.username)
    expect(tab.locator("#devices li")).to_have_count(1)
    go(tab, "Gateway")
    verdict_is(tab, "Let through")


def test_this_device_is_signed_out(ann: Visitor) -> None:
    """The button beside this device ends its session, and the cookie goes."""
    tab = ann.signed_in()
    go(tab, "Devices")
    tab.get_by_role("button", name="Sign out this device").click()
    is_out(tab, "You are signed out")
    for _ in until(5, "the cookie to go"):
        if COOKIE not in ann.cookies():
            break
    tab.reload()
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()


def test_sign_out_everywhere_asks_first(ann: Visitor, world: BrowserWorld) -> None:
    """Cancel changes nothing; the confirmation ends every session of this person and no other's."""
    tab = ann.signed_in()
    _, other = beside(world, ann.person)
    stranger = world.visitor().signed_in()
    go(tab, "Devices")
    everywhere = tab.locator("#everywhere")
    everywhere.click()
    tab.get_by_role("button", name="Cancel").click()
    expect(tab.locator("#devices li")).to_have_count(2)
    everywhere.click()
    tab.get_by_role("dialog").get_by_role("button", name="Sign out everywhere").click()
    is_out(tab, "You are signed out")
    is_out(other, "This session was ended", timeout=3 * A_SECOND)
    verdict_is(stranger, "Let through")


# --- the gateway -------------------------------------------------------------------------------


def end_session(world: BrowserWorld, sid: str) -> None:
    """What an operator does, with the command that the page shows."""
    command = ("revoke", "session", sid, "--state-dir", str(world.demo.state_dir))
    run_program(*command, directory=world.directory).done()


def signed_in_with_token(visitor: Visitor) -> tuple[Page, str]:
    """A tab that is signed in, and a copy of its access token."""
    tab = visitor.tab()
    with tab.expect_response("**/login") as answer:
        visitor.sign_in(tab)
    return tab, str(answer.value.json()["access_token"])


def lands(gateway: RealGateway, world: BrowserWorld, token: str, within: float = BOUND) -> None:
    """Wait until the gateway refuses a token as revoked; then nothing reaches the backend."""
    for _ in until(within, "the gateway's refusal", pause=0.02):
        answer = gateway.ask("/api", token=token)
        if answer.status == 401:
            break
    assert "revoked" in answer.headers["www-authenticate"]
    before = len(world.gate.backend.seen)
    assert gateway.ask("/api", token=token).status == 401
    assert [seen.path for seen in world.gate.backend.seen[before:]] == []


def test_the_api_is_told_who_calls_by_the_gateway(ann: Visitor, world: BrowserWorld) -> None:
    """Behind it the API gets the person and the session that the page shows."""
    tab = ann.signed_in()
    verdict_is(tab, "Let through")
    expect(tab.locator("#answers tr").first).to_contain_text(f"For {ann.person.sub}")
    seen = world.gate.backend.seen[-1]
    assert (seen.method, seen.path) == ("GET", "/api")
    assert seen.all("X-Gatepass-Subject") == [ann.person.sub]
    assert seen.all("X-Gatepass-Session") == [sid_of(tab)]
    assert seen.all("X-Gatepass-Client") == ["demo"]
    assert seen.all("X-Gatepass-Scope") == ["read write"]


def by_logout(world: BrowserWorld, tab: Page) -> None:
    tab.get_by_role("button", name="Sign out").click()


def by_operator(world: BrowserWorld, tab: Page) -> None:
    end_session(world, sid_of(tab))


def by_password_change(world: BrowserWorld, tab: Page) -> None:
    go(tab, "Password")
    fill_change(tab, PASSWORD, NEW_PASSWORD)


@pytest.mark.parametrize("end", [by_logout, by_operator, by_password_change])
def test_what_ends_a_session_lands_at_the_gateway(
    ann: Visitor, world: BrowserWorld, end: Callable[[BrowserWorld, Page], None]
) -> None:
    """A copy of the token that the page had is refused, and the API does not hear of it again."""
    tab, token = signed_in_with_token(ann)
    assert world.gateway.ask("/api", token=token).json["sub"] == ann.person.sub
    end(world, tab)
    lands(world.gateway, world, token)


def test_an_operator_s_revocation_is_seen_by_the_page(ann: Visitor, world: BrowserWorld) -> None:
    """The page that watches shows the gateway's refusal, and the form; so does its other tab."""
    tab, other = ann.signed_in(), ann.tab()
    verdict_is(other, "Let through")
    end_session(world, sid_of(tab))
    for page in (tab, other):
        is_out(page, "This session was ended", timeout=3 * A_SECOND)
    refusals = [page.locator("#answers").text_content() or "" for page in (tab, other)]
    assert any("The token has been revoked" in text for text in refusals)


def test_a_gateway_that_asks_nobody_is_caught(ann: Visitor, world: BrowserWorld) -> None:
    """The mutant of the tests above: without its question the same calls go through."""
    issuer = in_front_of(int(world.demo.described["base_url"].rpartition(":")[2]))
    careless = world.gate.open("caddy", lambda text: asks_nobody(issuer(text)))
    tab, token = signed_in_with_token(ann)
    end_session(world, sid_of(tab))
    lands(world.gateway, world, token)
    with pytest.raises(TimeoutError):
        lands(careless, world, token, within=0.5)
    assert world.gate.backend.seen[-1].all("X-Gatepass-Subject") == []


# --- password ----------------------------------------------------------------------------------


def test_a_new_password_is_judged_while_typing_and_nothing_is_sent(ann: Visitor) -> None:
    """Length, list and patterns are told with every key, without a request."""
    tab = ann.signed_in()
    tab.get_by_role("button", name="Pause").click()
    with tab.expect_response("**/password/rules"):
        go(tab, "Password")
    paths = requests_of(tab)
    new = tab.get_by_label("New password", exact=True)
    said = tab.locator("#strength-text")
    for text, words in (
        ("passw", "10 more characters."),
        ("passwordpasswor", "Easily guessed"),
        ("1qaz2wsx3edc4rfv", "on the list of breached passwords"),
        ("abcdefghijklmnop", "Easily guessed"),
        (NEW_PASSWORD, "Very good."),
    ):
        new.fill("")
        new.press_sequentially(text)
        expect(said).to_contain_text(words)
    assert paths == []


def test_a_password_is_changed_and_other_devices_are_out(ann: Visitor, world: BrowserWorld) -> None:
    """A wrong current one and a weak new one are told; then this browser goes on, no other does."""
    tab = ann.signed_in()
    _, other = beside(world, ann.person)
    go(tab, "Password")
    fill_change(tab, "not the current one", NEW_PASSWORD)
    expect(tab.get_by_role("alert")).to_have_text("The current password is wrong.")
    expect(tab.get_by_label("Current password", exact=True)).to_be_focused()
    fill_change(tab, PASSWORD, "passwordpassword")
    expect(tab.get_by_role("alert")).to_contain_text("guessed first")
    fill_change(tab, PASSWORD, NEW_PASSWORD)
    expect(tab.locator("#notice")).to_contain_text("Your password is changed")
    is_out(other, "This session was ended", timeout=3 * A_SECOND)
    go(tab, "Gateway")
    verdict_is(tab, "Let through")
    world.visitor(Person(ann.person.username, NEW_PASSWORD, ann.person.sub)).signed_in()


# --- many tabs ---------------------------------------------------------------------------------


WATCH_CHANGE = """
addEventListener("click", () => window.noted("pressed"), {capture: true});
new MutationObserver(() => {
  if (document.querySelector("#view-sign-in")?.checkVisibility()) window.noted("out");
  const sid = document.querySelector("#sid")?.textContent;
  if (sid.length > 1) window.noted(sid);
}).observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
"""


def watched(visitor: Visitor) -> list[tuple[float, Page, str]]:
    """When each tab from now on has a click, shows the form, or names a session."""
    seen: list[tuple[float, Page, str]] = []
    visitor.context.expose_binding(
        "noted", lambda source, what: seen.append((monotonic(), source["page"], what))
    )
    visitor.context.add_init_script(WATCH_CHANGE)
    return seen


def test_a_logout_in_one_tab_is_one_in_all_within_a_second(ann: Visitor) -> None:
    """Four other tabs show the form, whatever page they were on."""
    seen = watched(ann)
    tab = ann.signed_in()
    others = [*ann.tabs(2), ann.tab("/#devices"), ann.tab("/#password")]
    for other in others:
        expect(other.locator("#sign-out")).to_be_visible()
    seen.clear()
    tab.get_by_role("button", name="Sign out").click()
    for other in others:
        is_out(other, "You are signed out")
    pressed = next(at for at, _, what in seen if what == "pressed")
    for other in others:
        out = next(at for at, page, what in seen if page == other and what == "out")
        assert out - pressed < 1


def test_a_password_change_in_one_tab_reaches_all_within_a_second(ann: Visitor) -> None:
    """The other tabs go on with the new session, and none shows the form."""
    seen = watched(ann)
    tab = ann.signed_in()
    others = ann.tabs(4)
    for other in others:
        is_in(other)
    old = sid_of(tab)
    go(tab, "Password")
    seen.clear()
    fill_change(tab, PASSWORD, NEW_PASSWORD)
    for other in others:
        expect(other.locator("#sid")).not_to_have_text(old)
        verdict_is(other, "Let through")
    pressed = next(at for at, _, what in seen if what == "pressed")
    for other in others:
        news = next(at for at, page, what in seen if page == other and what != old)
        assert news - pressed < 1
    assert "out" not in {what for _, _, what in seen}


# --- secrets and policy ------------------------------------------------------------------------


def test_no_script_can_read_the_refresh_token(ann: Visitor) -> None:
    """The cookie is kept from scripts, and shows in no script's list of cookies."""
    tab = ann.signed_in()
    [cookie] = ann.context.cookies()
    assert cookie["name"] == COOKIE
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    assert tab.evaluate("document.cookie") == ""
    assert tab.evaluate("async () => (await cookieStore.getAll()).length") == 0


def test_no_token_is_ever_in_address_storage_or_document(ann: Visitor, world: BrowserWorld) -> None:
    """From the login to the logout, whatever the person does, in a second tab as well."""
    tokens = Tokens(ann)
    tab = ann.signed_in()
    tokens.are_not_in(tab)
    tab.reload()
    is_in(tab)
    tokens.are_not_in(tab)
    other = ann.tab()
    is_in(other)
    with ann.context.expect_event("response", lambda answer: answer.url.endswith(REFRESH)):
        world.moved(290)
    tokens.are_not_in(tab, other)
    go(tab, "Devices")
    expect(tab.locator("#devices li")).to_have_count(1)
    tokens.are_not_in(tab)
    go(tab, "Password")
    fill_change(tab, PASSWORD, NEW_PASSWORD)
    expect(tab.locator("#notice")).to_contain_text("Your password is changed")
    tokens.are_not_in(tab, other)
    tab.get_by_role("button", name="Sign out").click()
    is_out(tab, "You are signed out")
    is_out(other, "You are signed out")
    tokens.are_not_in(tab, other)
    assert len(tokens.access) >= 4
    assert len(tokens.refresh) >= 3


PLACES = (
    "location.hash = token",
    "history.replaceState({token}, '')",
    "window.name = token",
    "localStorage.kept = token",
    "sessionStorage.kept = token",
    "document.cookie = `kept=${token}`",
    "document.body.dataset.kept = token",
    "document.body.append(document.createComment(token))",
    "document.querySelector('#username').value = token",
    "await fetch(`/spa/demo/mark.svg?${token}`)",
    "await (await caches.open('kept')).put('/kept', new Response(token))",
    """await new Promise((resolve) => {
      const request = indexedDB.open("kept");
      request.onupgradeneeded = () => request.result.createObjectStore("kept").put({token}, 1);
      request.onsuccess = () => { request.result.close(); resolve(); };
    })""",
)


def test_a_token_in_any_of_these_places_is_found(ann: Visitor) -> None:
    """The mutants of the test above: the probe sees a token wherever a page may leave it."""
    tokens = Tokens(ann)
    tab = ann.signed_in()
    tokens.are_not_in(tab)
    [token] = tokens.access
    signature = tokens.access.copy()
    for number, place in enumerate(PLACES):
        mine = f"{token}{number}"
        tokens.access = {mine}
        assert tokens.found_in(tab) == set()
        tab.evaluate(f"async (token) => {{ {place} }}", mine)
        assert tokens.found_in(tab) == {mine}, place
    tokens.access = signature


ATTACK = """
<script>window.pwned = 1</script><img src="x" onerror="window.pwned = 2"><script src="{}"></script>
<style>body {{ opacity: 0.5 }}</style><base href="https://evil.example">
"""


def altered_start(visitor: Visitor, insertion: str, *, policy: bool = True) -> Page:
    """A tab whose first page has markup that the server was tricked into."""
    tab = visitor.context.new_page()

    def alter(route: Route) -> None:
        answer = route.fetch()
        headers = answer.headers
        if not policy:
            del headers["content-security-policy"]
        body = answer.text().replace("<body>", f"<body>{insertion}")
        route.fulfill(response=answer, body=body, headers=headers)

    tab.route(visitor.world.issuer + "/", alter)
    tab.goto(visitor.world.issuer + "/")
    return tab


def test_an_inline_script_that_got_into_the_page_does_not_run(ann: Visitor) -> None:
    """The policy stops scripts, handlers and foreign sources in the page's own markup."""
    foreign = ann.world.foreign
    foreign.answers["/evil.js"] = ("text/javascript", b"window.pwned = 3", {})
    attack = ATTACK.format(foreign.url(path="/evil.js"))
    tab = altered_start(ann, attack)
    ann.sign_in(tab)
    assert tab.evaluate("window.pwned") is None
    assert tab.evaluate("getComputedStyle(document.body).opacity") == "1"
    blocked = "\n".join(ann.problems)
    for directive in ("script-src", "style-src", "base-uri"):
        assert directive in blocked
    assert all(path != "/evil.js" for _, path, _ in foreign.heard)


def test_without_the_policy_it_would_run(ann: Visitor) -> None:
    """The attack of the test above is a real one."""
    attack = ATTACK.format(ann.world.foreign.url(path="/evil.js"))
    tab = altered_start(ann, attack.replace("<base", "<!--") + "-->", policy=False)
    assert tab.evaluate("window.pwned") is not None
    assert tab.evaluate("getComputedStyle(document.body).opacity") == "0.5"


def test_a_script_cannot_turn_a_string_into_code(ann: Visitor) -> None:
    """Trusted Types refuse markup and code from strings, and no policy for them can be made."""
    tab = ann.tab()
    for attempt in (
        "document.body.innerHTML = '<img src=x onerror=alert(1)>'",
        "document.createElement('script').text = 'window.pwned = 1'",
        "trustedTypes.createPolicy('mine', {createHTML: (text) => text})",
        "document.body.setAttribute('onclick', 'window.pwned = 1')",
    ):
        refused = tab.evaluate(
            f"() => {{ try {{ {attempt}; return 'done' }} catch (error) {{ return error.name }} }}"
        )
        assert refused == "TypeError", attempt


def test_the_pages_say_what_they_may_do(world: BrowserWorld, project_root: Path) -> None:
    """Each file of the pages carries the documented policy, and what keeps other pages out."""
    text = (project_root / "docs" / "demo-pages.md").read_text("utf-8")
    documented = " ".join(text.split("```output\n")[1].split("```")[0].split())
    for path in ("/", "/spa/demo/app.js", "/spa/demo/style.css", "/spa/src/index.js"):
        answer = world.demo.site.get(path)
        assert answer.status == 200
        assert answer.headers["content-security-policy"] == documented
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "camera=()" in answer.headers["permissions-policy"]
        again = world.demo.site.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status == 304
    for path in ("/spa/package.json", "/spa/demo/../package.json", "/spa/%2e%2e/pyproject.toml"):
        assert world.demo.site.get(path).status == 404


# --- for everybody -----------------------------------------------------------------------------


def tab_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Press the key until the focus is there."""
    for _ in range(30):
        if target.evaluate("part => part === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} does not lead to {target}")


FOCUSED = """() => {
  const {id, innerText, tagName} = document.activeElement;
  return tagName === "BODY" ? "" : id || innerText;
}"""


def tabbed_through(page: Page, presses: int) -> set[str]:
    """The ids, or else the texts, that Tab leads to; between first and last it leads nowhere."""
    seen: set[str] = set()
    for _ in range(presses):
        page.keyboard.press("Tab")
        seen.add(page.evaluate(FOCUSED))
    return seen - {""}


def test_a_person_signs_in_moves_on_and_out_by_keyboard(ann: Visitor) -> None:
    """Without a pointer; a new view's heading takes the focus, a button keeps it."""
    tab = ann.tab()
    expect(tab.get_by_label("User name")).to_be_focused()
    tab.keyboard.type(ann.person.username)
    tab.keyboard.press("Tab")
    tab.keyboard.type(ann.person.password)
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", name="What the gateway says")).to_be_focused()
    skip, devices = tab.get_by_role("link", name="Skip"), tab.get_by_role("link", name="Devices")
    tab_to(tab, devices, "Shift+Tab")
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", name="Your devices")).to_be_focused()
    expect(devices).to_have_attribute("aria-current", "page")
    tab.go_back()
    expect(tab.get_by_role("heading", name="What the gateway says")).to_be_focused()
    tab_to(tab, skip, "Shift+Tab")
    expect(skip).to_be_in_viewport()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("main")).to_be_focused()
    assert "content" not in tab.url
    tab.keyboard.press("Tab")
    pause = tab.locator("#pause")
    for text in ("Go on", "Pause"):
        expect(pause).to_be_focused()
        tab.keyboard.press("Space")
        expect(pause).to_have_accessible_name(text)
    tab_to(tab, tab.get_by_role("button", name="Sign out"), "Shift+Tab")
    tab.keyboard.press("Enter")
    is_out(tab, "You are signed out")
    expect(tab.get_by_label("User name")).to_be_focused()


def test_devices_are_signed_out_by_keyboard(ann: Visitor, world: BrowserWorld) -> None:
    """One of them, then all: the question has the keyboard to itself, and Escape is no."""
    tab = ann.signed_in()
    _, other = beside(world, ann.person)
    tab_to(tab, tab.get_by_role("link", name="Devices"), "Shift+Tab")
    tab.keyboard.press("Enter")
    tab_to(tab, tab.locator("#devices li").nth(1).get_by_role("button"))
    tab.keyboard.press("Enter")
    expect(tab.locator("#devices li")).to_have_count(1)
    expect(tab.get_by_role("heading", name="Your devices")).to_be_focused()
    is_out(other, "This session was ended", timeout=3 * A_SECOND)
    everywhere = tab.locator("#everywhere")
    tab_to(tab, everywhere)
    tab.keyboard.press("Enter")
    dialog = tab.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    assert tabbed_through(tab, 6) == {"Sign out everywhere", "Cancel"}
    tab.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(everywhere).to_be_focused()
    tab.keyboard.press("Enter")
    tab_to(tab, dialog.get_by_role("button", name="Sign out everywhere"))
    tab.keyboard.press("Enter")
    is_out(tab, "You are signed out")
    expect(tab.get_by_label("User name")).to_be_focused()


def test_a_password_is_changed_by_keyboard(ann: Visitor, world: BrowserWorld) -> None:
    """Look at what was typed, be refused, be asked "still there?", and go on where one was."""
    tab = ann.signed_in()
    tab_to(tab, tab.get_by_role("link", name="Password"), "Shift+Tab")
    tab.keyboard.press("Enter")
    current, new = (tab.get_by_label(f"{name} password", exact=True) for name in ("Current", "New"))
    tab_to(tab, current)
    tab.keyboard.type("not the current one")
    tab.keyboard.press("Tab")
    reveal = tab.locator("[data-reveals=current]")
    for text, kind in (("Hide", "text"), ("Show", "password")):
        tab.keyboard.press("Space")
        expect(current).to_have_attribute("type", kind)
        expect(reveal).to_have_text(text)
        expect(reveal).to_have_accessible_name(f"{text} current password")
        expect(reveal).to_be_focused()
    tab_to(tab, new)
    tab.keyboard.type(NEW_PASSWORD)
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("alert")).to_have_text("The current password is wrong.")
    expect(current).to_be_focused()
    world.moved(IDLE - 60)
    expect(tab.get_by_role("button", name="Stay signed in")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("alertdialog")).to_be_hidden()
    expect(current).to_be_focused()
    tab.keyboard.press("Control+A")
    tab.keyboard.type(PASSWORD)
    tab.keyboard.press("Enter")
    expect(tab.locator("#notice")).to_contain_text("Your password is changed")
    expect(tab.get_by_role("heading", name="Change your password")).to_be_focused()
