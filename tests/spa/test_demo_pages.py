"""A session on the demo's pages in Chromium, from sign-in to its end, behind Caddy."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from harness.browser import (
    IDLE,
    PASSWORD,
    BrowserWorld,
    Visitor,
    answers_lost,
)
from harness.demo_pages import (
    fill_change,
    go,
    is_in,
    is_out,
    near_both_ends,
    near_the_absolute_end,
    requests_of,
    sid_of,
    tab_to,
    tabbed_through,
    verdict_is,
    warns_of_the_absolute_end,
)
from harness.processes import until
from playwright.sync_api import Page, Response, Route, expect

NEW_PASSWORD = "forty purple lanterns adrift"
REFRESH = "/refresh"
COOKIE = "__Host-gatepass_refresh"
A_SECOND = 1000
GATED = True  # pages, issuer and API are all behind Caddy


# Notes, at every frame, whether the sign-in form can be seen.
WATCH_FORM = """
window.formSeen = 0;
(function look() {
  const form = document.querySelector("#view-sign-in");
  if (form && form.checkVisibility()) window.formSeen += 1;
  requestAnimationFrame(look);
})();
"""


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


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_slow_press_dismisses_no_warning_that_it_was_not_about(
    ann: Visitor, world: BrowserWorld, by: str
) -> None:
    """To press "Stay signed in" is activity: before it is let go the button may say another thing.

    The next press is about that.
    """
    tab = ann.signed_in()
    near_both_ends(tab, world)
    if by == "mouse":
        tab.get_by_role("button", name="Stay signed in").hover()
        tab.mouse.down()
        warns_of_the_absolute_end(tab)
        tab.mouse.up()
    else:
        tab.keyboard.down("Space")
        warns_of_the_absolute_end(tab)
        tab.keyboard.up("Space")
    expect(tab.locator("#idle-left")).to_contain_text("29:")
    warns_of_the_absolute_end(tab)
    tab.get_by_role("button", name="Understood").click()
    expect(tab.get_by_role("alertdialog")).to_be_hidden()


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
