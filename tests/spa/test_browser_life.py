"""What befalls a tab: frozen, put away and brought back, offline, asleep, with wrong clocks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from harness.browser import BrowserWorld, Visitor
from harness.module_tabs import comes_true, families_of, log_in, module_tab, status_of
from harness.processes import short_directory
from playwright.sync_api import Page

LOCK_PATIENCE = 30
"""Seconds after which a tab has certainly taken the lock from one that is frozen."""

# Takes the module's lock as a tab does that the browser stops in the middle of a refresh.
HOLD_LOCK = """
async () => {
  const name = `gatepass:${location.origin}`;
  await new Promise((held) => navigator.locks.request(name, () => {
    held();
    return new Promise(() => {});
  }));
  return (await navigator.locks.query()).held.map((lock) => lock.name);
}
"""


@pytest.fixture(scope="module")
def world() -> Iterator[BrowserWorld]:
    """A Chromium that keeps pages for the way back."""
    directory = short_directory("gp-life-")
    with BrowserWorld(directory, unwanted=("--disable-back-forward-cache",)) as running:
        yield running
    shutil.rmtree(directory)


def freeze(page: Page, state: str) -> None:
    """`frozen`: its timers and tasks stand still; `active`: they go on."""
    session = page.context.new_cdp_session(page)
    session.send("Page.setWebLifecycleState", {"state": state})
    session.detach()


def is_in(page: Page, sid: str) -> None:
    """The tab's session is the one named, perhaps in a moment."""
    comes_true(page, "session.state.status === 'signedIn'")
    assert status_of(page) == ("signedIn", sid)


def test_a_frozen_tab_that_holds_the_lock_stops_nobody(ann: Visitor) -> None:
    """The others take the lock after its time, refresh, and stay signed in; so does it later."""
    frozen = module_tab(ann)
    sid = log_in(frozen, ann)
    tab = module_tab(ann)
    names = frozen.evaluate(HOLD_LOCK)
    assert names == [f"gatepass:{ann.world.issuer}"]
    freeze(frozen, "frozen")
    asked = tab.evaluate("asked")
    tab.evaluate("window.done = false; void session.stayActive().then(() => { done = true })")
    assert tab.evaluate("done") is False
    ann.context.clock.fast_forward(LOCK_PATIENCE * 1000)
    comes_true(tab, "done")
    assert tab.evaluate("asked") > asked
    is_in(tab, sid)
    freeze(frozen, "active")
    is_in(frozen, sid)


def test_a_tab_that_was_frozen_during_a_logout_is_out_when_it_resumes(ann: Visitor) -> None:
    """What it missed it hears or asks for."""
    frozen = module_tab(ann)
    log_in(frozen, ann)
    tab = module_tab(ann)
    freeze(frozen, "frozen")
    tab.evaluate("session.logout()")
    freeze(frozen, "active")
    comes_true(frozen, "session.state.status === 'signedOut'")
    assert families_of(ann.world, ann.person.sub) == []


@pytest.mark.parametrize("ended", [False, True], ids=["lives", "ended meanwhile"])
def test_a_page_that_comes_back_from_the_cache_asks(ann: Visitor, ended: bool) -> None:
    """Put away it has no token and shows nothing private; back again it knows what is true now."""
    tab = module_tab(ann)
    sid = log_in(tab, ann)
    tab.evaluate("window.kept = true; states.length = 0")
    ann.world.foreign.page("/away", "<body>Elsewhere.")
    tab.goto(ann.world.foreign.url("other.localhost", "/away"))
    other = module_tab(ann)
    if ended:
        other.evaluate("session.logout()")
    tab.go_back(wait_until="commit")
    assert tab.evaluate("window.kept") is True
    if ended:
        comes_true(tab, "session.state.status === 'signedOut'")
    else:
        is_in(tab, sid)
    assert tab.evaluate("states[0][0]") == "restoring"


def test_offline_keeps_the_session_and_online_asks_at_once(ann: Visitor) -> None:
    """Without a network nobody is logged out; with it again the session is there."""
    tab = module_tab(ann)
    sid = log_in(tab, ann)
    ann.context.set_offline(True)
    ann.world.moved(290)
    code = tab.evaluate("session.stayActive().catch((error) => error.code)")
    assert code == "unreachable"
    assert tab.evaluate("[session.state.status, session.state.reachable]") == ["signedIn", False]
    ann.context.set_offline(False)
    comes_true(tab, "session.state.reachable === true")
    is_in(tab, sid)


def test_a_night_asleep_ends_the_session_and_an_hour_does_not(
    ann: Visitor, world: BrowserWorld
) -> None:
    """A jump of all clocks within the idle time is a refresh; beyond it, the end, and why."""
    tab = module_tab(ann)
    sid = log_in(tab, ann)
    world.moved(1500)
    is_in(tab, sid)
    tab.evaluate("session.stayActive()")
    world.moved(6000)
    comes_true(tab, "session.state.status === 'signedOut'")
    assert status_of(tab)[1] in {"idle", "absolute"}


@pytest.mark.parametrize("hours", [-30, -1, 1, 3000])
def test_a_wall_clock_that_is_set_wrong_logs_nobody_out(ann: Visitor, hours: int) -> None:
    """Back or forward, by an hour or by months: the issuer says that the session lives."""
    tab = module_tab(ann)
    other = module_tab(ann)
    sid = log_in(tab, ann)
    for page in (tab, other):
        page.evaluate(
            "(ms) => { const now = Date.now; Date.now = () => now() + ms }", hours * 3.6e6
        )
    ann.world.issuer_moved(11)
    tab.evaluate("session.stayActive()")
    assert tab.evaluate("async () => (await session.sessions()).length") == 1
    for page in (tab, other, module_tab(ann)):
        is_in(page, sid)
