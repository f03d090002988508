"""What ends a session of the demo, seen in other tabs, at other devices and at the gateway."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness.browser import (
    PASSWORD,
    BrowserWorld,
    Person,
    Visitor,
)
from harness.browser_gateway import asks_nobody, in_front_of
from harness.demo_pages import (
    beside,
    fill_change,
    go,
    is_in,
    is_out,
    requests_of,
    sid_of,
    verdict_is,
)
from harness.forward_auth import RealGateway
from harness.gatepass_command import run_program
from harness.processes import monotonic, until
from harness.running_demo import BOUND
from playwright.sync_api import Page, expect

NEW_PASSWORD = "forty purple lanterns adrift"
COOKIE = "__Host-gatepass_refresh"
GATED = True  # pages, issuer and API are all behind Caddy


# --- devices -----------------------------------------------------------------------------------


def test_another_device_is_signed_out_and_refused_at_once(
    ann: Visitor, world: BrowserWorld
) -> None:
    """Its gateway says "revoked", and its page shows that and the form."""
    tab = ann.signed_in()
    _, other = beside(world, ann.person)
    verdict_is(other, "Let through")
    go(tab, "Devices")
    expect(tab.locator("#devices li")).to_have_count(2)
    expect(tab.locator("#devices li").first).to_contain_text("This device")
    tab.locator("#devices li").nth(1).get_by_role("button").click()
    is_out(other, "This session was ended")
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
    is_out(other, "This session was ended")
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
        is_out(page, "This session was ended")
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
    is_out(other, "This session was ended")
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


def soonest(world: BrowserWorld, seconds: Callable[[Visitor], float]) -> float:
    """The best of three new people at most: what is slow by itself is so for each of them."""
    measured: list[float] = []
    while len(measured) < 3 and min(measured, default=1.0) >= 1:
        measured.append(seconds(world.visitor()))
        world.forget()
    return min(measured)


def seconds_of_a_logout(visitor: Visitor) -> float:
    """From the click until the last of four other tabs shows the form."""
    seen = watched(visitor)
    tab = visitor.signed_in()
    others = [*visitor.tabs(2), visitor.tab("/#devices"), visitor.tab("/#password")]
    for other in others:
        expect(other.locator("#sign-out")).to_be_visible()
    seen.clear()
    tab.get_by_role("button", name="Sign out").click()
    for other in others:
        is_out(other, "You are signed out")
    pressed = next(at for at, _, what in seen if what == "pressed")
    return (
        max(
            next(at for at, page, what in seen if page == other and what == "out")
            for other in others
        )
        - pressed
    )


def test_a_logout_in_one_tab_is_one_in_all_within_a_second(world: BrowserWorld) -> None:
    """Four other tabs show the form, whatever page they were on."""
    assert soonest(world, seconds_of_a_logout) < 1


def seconds_of_a_password_change(visitor: Visitor) -> float:
    """From the click until the last of four other tabs names the new session."""
    seen = watched(visitor)
    tab = visitor.signed_in()
    others = visitor.tabs(4)
    for other in others:
        is_in(other)
    old = sid_of(tab)
    go(tab, "Password")
    seen.clear()
    fill_change(tab, PASSWORD, NEW_PASSWORD)
    for other in others:
        expect(other.locator("#sid")).not_to_have_text(old)
        verdict_is(other, "Let through")
    assert "out" not in {what for _, _, what in seen}
    pressed = next(at for at, _, what in seen if what == "pressed")
    return (
        max(
            next(at for at, page, what in seen if page == other and what != old) for other in others
        )
        - pressed
    )


def test_a_password_change_in_one_tab_reaches_all_within_a_second(world: BrowserWorld) -> None:
    """The other tabs go on with the new session, and none shows the form."""
    assert soonest(world, seconds_of_a_password_change) < 1
