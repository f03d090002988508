"""A session in Chromium: its warnings, what counts as activity, and a token that was taken back."""

from __future__ import annotations

from harness.browser import IDLE, BrowserWorld, Visitor
from harness.module_tabs import (
    answers_to,
    comes_true,
    log_in,
    module_tab,
    status_of,
    take_back,
)
from playwright.sync_api import Page

TOLD = """
() => {
  window.told = [];
  session.onExpiring(({end, secondsLeft}) => told.push([end, secondsLeft]));
}
"""
CALL = """
async (method) => {
  const body = method === "POST" ? "{}" : undefined;
  return (await session.fetch("/api", {method, body})).status;
}
"""
TWICE_AT_MOST_EVERY = 6
"""Seconds after which a token that is refused is replaced again."""


def stop_before_the_end(visitor: Visitor, tab: Page, end: str, seconds: int) -> None:
    """Let time pass until a session has so many seconds left or up to one less; it stands there."""
    visitor.hold()
    pass_by(visitor, tab.evaluate("(end) => session.remaining()[end]", end) - seconds)


def pass_by(visitor: Visitor, seconds: int) -> None:
    """Move time that stands still."""
    visitor.world.issuer_moved(seconds)
    visitor.context.clock.fast_forward(seconds * 1000)


def test_each_end_is_warned_of_at_its_time(ann: Visitor, world: BrowserWorld) -> None:
    """Two minutes before the idle end and five before the absolute one: not with a second more."""
    tab = module_tab(ann)
    log_in(tab, ann)
    tab.evaluate(TOLD)
    world.moved(IDLE - 180)
    comes_true(tab, "asked > 0")
    stop_before_the_end(ann, tab, "idle", 121)
    assert tab.evaluate("told") == []
    pass_by(ann, 2)
    [[end, left]] = tab.evaluate("told")
    assert (end, left in {118, 119}) == ("idle", True)
    tab.evaluate("session.stayActive()")
    ann.context.clock.resume()
    for _ in range(3):
        world.moved(IDLE - 140)
        tab.evaluate("session.stayActive()")
    assert tab.evaluate("told.splice(0)") == [[end, left]]
    stop_before_the_end(ann, tab, "absolute", 301)
    assert tab.evaluate("told") == []
    pass_by(ann, 2)
    [[end, left]] = tab.evaluate("told")
    assert (end, left in {298, 299}) == ("absolute", True)
    tab.evaluate("session.stayActive()")
    assert tab.evaluate("session.state.expiring") == "absolute"
    pass_by(ann, 305)
    comes_true(tab, "session.state.status === 'signedOut'")
    assert status_of(tab) == ("signedOut", "absolute")
    assert len(tab.evaluate("told")) == 1


def test_a_press_a_touch_and_the_wheel_avert_the_end(world: BrowserWorld) -> None:
    """On an empty spot of the page; a mouse that only moves does not."""
    ann = world.visitor(has_touch=True)
    tab = module_tab(ann)
    log_in(tab, ann)
    gestures = {
        "click": lambda: tab.mouse.click(640, 600),
        "wheel": lambda: tab.mouse.wheel(0, 40),
        "tap": lambda: tab.touchscreen.tap(640, 600),
    }
    for name, gesture in gestures.items():
        world.moved(IDLE - 90)
        comes_true(tab, "session.state.expiring === 'idle'")
        tab.mouse.move(600, 500)
        tab.mouse.move(620, 550)
        tab.wait_for_timeout(100)
        assert tab.evaluate("session.state.expiring") == "idle"
        gesture()
        comes_true(tab, "session.state.expiring === null")
        assert tab.evaluate("session.remaining().idle") > IDLE - 10, name
    world.forget()


def test_a_token_that_was_taken_back_is_replaced_once(ann: Visitor, world: BrowserWorld) -> None:
    """The gateway refuses it, one refresh gets another, and the call goes through; a POST too."""
    tab = module_tab(ann)
    with tab.expect_response("**/login") as answer:
        sid = log_in(tab, ann)
    for method in ("GET", "POST"):
        take_back(world, answer.value.json()["access_token"])
        heard = answers_to(tab)
        with tab.expect_response("**/refresh") as answer:
            assert tab.evaluate(CALL, method) == 200
        assert heard == [("/api", 401), ("/refresh", 200), ("/api", 200)]
        assert status_of(tab) == ("signedIn", sid)
        ann.context.clock.fast_forward(TWICE_AT_MOST_EVERY * 1000)
