"""Twelve tabs of Chromium on one session, and answers that are lost on the way to them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

import pytest
from harness.browser import BrowserWorld, Visitor
from harness.cutting_proxy import CUTS, CuttingProxy
from harness.limits import OFF
from harness.module_tabs import (
    PLAIN,
    comes_true,
    families_of,
    log_in,
    module_tab,
    refresh_in_rounds,
    status_of,
)
from harness.processes import short_directory
from playwright.sync_api import Page

TABS = 12
ROUNDS = 1000
FEWER = 30
LEASED = 3
"""Rounds under a lease: each of the tabs waits for it in turn, for some tenths of a second."""
PAST_REUSE_INTERVAL = 11.0
STRICT = {"reuse_interval": 0, "retry_window": 0, "limits": OFF}
"""Settings under which a refresh token is good for one refresh, and nothing is forgiven."""


@pytest.fixture(scope="module")
def proxy() -> Iterator[CuttingProxy]:
    """What can lose the issuer's answers."""
    with CuttingProxy() as running:
        yield running


@pytest.fixture(scope="module")
def world(proxy: CuttingProxy) -> Iterator[BrowserWorld]:
    """A demo whose pages may be opened through the proxy as well, with sessions of twelve hours."""
    directory = short_directory("gp-tabs-")
    origin = f"--origin=http://127.0.0.1:{proxy.port}"
    changes = {"limits": OFF}  # they refresh a session hundreds of times a minute
    with BrowserWorld(directory, options=(origin,), absolute=0, changes=changes) as running:
        proxy.target = int(running.issuer.rpartition(":")[2])
        yield running
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def strict(world: BrowserWorld, proxy: CuttingProxy) -> Iterator[BrowserWorld]:
    """An issuer that forgives nothing, in the same Chromium and behind the same proxy."""
    directory = short_directory("gp-strict-")
    options = (f"--origin=http://127.0.0.1:{proxy.port}",)
    with BrowserWorld(
        directory, options=options, absolute=0, changes=STRICT, beside=world
    ) as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture
def bob(strict: BrowserWorld) -> Iterator[Visitor]:
    """A new person at that issuer."""
    yield strict.visitor()
    strict.forget()


def twelve(visitor: Visitor, *, without: Sequence[str] = ()) -> tuple[list[Page], str]:
    """Twelve tabs of a visitor who is signed in, and the sid."""
    first = module_tab(visitor, without=without)
    sid = log_in(first, visitor)
    tabs = [first, *(module_tab(visitor, without=without) for _ in range(TABS - 1))]
    for tab in tabs:
        comes_true(tab, "session.state.status === 'signedIn'")
    return tabs, sid


def test_a_thousand_rounds_of_twelve_tabs_end_no_session(ann: Visitor, world: BrowserWorld) -> None:
    """Every round rotates once, whoever asks; one family, one sid, and no tab is ever out."""
    tabs, sid = twelve(ann)
    [before] = families_of(world, ann.person.sub)
    for tab in tabs:
        tab.evaluate("states.length = 0")
    rounds = refresh_in_rounds(ann, tabs, ROUNDS, PAST_REUSE_INTERVAL)
    assert rounds.faults == {}
    assert [tab.evaluate("states") for tab in tabs] == [[] for _ in tabs]
    assert {status_of(tab) for tab in tabs} == {("signedIn", sid)}
    [after] = families_of(world, ann.person.sub)
    assert after.sid == before.sid == sid
    assert after.gen - before.gen == ROUNDS
    # One for the token, and one or two for those whose activity the first did not tell.
    assert rounds.asked < 4 * ROUNDS


@pytest.mark.parametrize("without", [("locks", "storage"), ("locks", "storage", "openChannel")])
def test_twelve_refreshes_at_once_get_one_successor(
    ann: Visitor, world: BrowserWorld, without: tuple[str, ...]
) -> None:
    """Where a browser has no locks all twelve ask at once; the issuer still rotates but once."""
    tabs, sid = twelve(ann, without=without)
    [before] = families_of(world, ann.person.sub)
    rounds = refresh_in_rounds(ann, tabs, FEWER, PAST_REUSE_INTERVAL)
    assert rounds.faults == {}
    assert {status_of(tab) for tab in tabs} == {("signedIn", sid)}
    [after] = families_of(world, ann.person.sub)
    assert (after.sid, after.gen - before.gen) == (sid, FEWER)
    assert rounds.asked >= 2 * FEWER
    if "openChannel" in without:
        assert rounds.asked >= TABS * FEWER


def test_where_nothing_is_forgiven_the_lock_alone_keeps_the_session(
    bob: Visitor, strict: BrowserWorld
) -> None:
    """Single use: with the module's lock no tab is out; without it, the rounds above see one."""
    tabs, sid = twelve(bob)
    rounds = refresh_in_rounds(bob, tabs, FEWER, PAST_REUSE_INTERVAL)
    assert rounds.faults == {}
    assert {status_of(tab) for tab in tabs} == {("signedIn", sid)}
    eve = strict.visitor()
    tabs, _ = twelve(eve, without=("locks", "storage"))
    rounds = refresh_in_rounds(eve, tabs, FEWER, PAST_REUSE_INTERVAL)
    assert "signed_out" in rounds.faults
    assert families_of(strict, eve.person.sub) == []


@pytest.mark.parametrize("what", CUTS)
@pytest.mark.parametrize("times", [1, 2])
def test_a_lost_answer_logs_nobody_out(
    ann: Visitor, world: BrowserWorld, proxy: CuttingProxy, what: str, times: int
) -> None:
    """The issuer has rotated and the connection is cut; asked again, it gives the same one."""
    through = f"http://127.0.0.1:{proxy.port}"
    tab = module_tab(ann, through)
    sid = log_in(tab, ann)
    [before] = families_of(world, ann.person.sub)
    world.issuer_moved(PAST_REUSE_INTERVAL)
    proxy.lose("/refresh", times, what)
    tab.evaluate("states.length = 0")
    tab.evaluate("session.stayActive()")
    assert proxy.cut == [what] * times
    assert {status for status, _ in tab.evaluate("states")} <= {"signedIn"}
    [after] = families_of(world, ann.person.sub)
    assert (after.sid, after.gen - before.gen) == (sid, 1)
    again = module_tab(ann, through)
    assert status_of(again) == ("signedIn", sid)


def test_answers_lost_for_an_hour_log_nobody_out(
    ann: Visitor, world: BrowserWorld, proxy: CuttingProxy
) -> None:
    """Attempt after attempt is lost, minutes apart, in two generations in a row."""
    through = f"http://127.0.0.1:{proxy.port}"
    tab = module_tab(ann, through)
    sid = log_in(tab, ann)
    [before] = families_of(world, ann.person.sub)
    for _ in range(2):
        proxy.lose("/refresh", 1000, "half of the body")
        for _ in range(4):
            world.moved(420)
            tab.evaluate("session.stayActive().catch(() => {})")
            assert tab.evaluate("session.state.status") in {"signedIn", "restoring"}
        assert len(proxy.cut) >= 4
        proxy.lose("/refresh", 0, "all of it")
        tab.evaluate("session.stayActive()")
        assert status_of(tab) == ("signedIn", sid)
    [after] = families_of(world, ann.person.sub)
    assert (after.sid, after.gen > before.gen) == (sid, True)


def test_an_issuer_that_forgives_nothing_is_caught_losing_a_session(
    bob: Visitor, strict: BrowserWorld, proxy: CuttingProxy
) -> None:
    """The mutant of the tests above: with strict single use one lost answer is a logout."""
    target, proxy.target = proxy.target, int(strict.issuer.rpartition(":")[2])
    tab = module_tab(bob, f"http://127.0.0.1:{proxy.port}")
    log_in(tab, bob)
    proxy.lose("/refresh", 1, "all of it")
    assert tab.evaluate("session.stayActive().catch((error) => error.code)") == "signed_out"
    proxy.target = target


# --- what stands in for locks and channels -----------------------------------------------------

# Notes what the module writes to storage, as another tab hears it.
WATCH_STORAGE = """
() => {
  window.written = [];
  addEventListener("storage", ({key, newValue}) => written.push([key.split(":").at(-1), newValue]));
}
"""


@pytest.mark.parametrize(
    "without", [("locks",), ("openChannel",), ("locks", "openChannel")], ids="-".join
)
def test_storage_stands_in_for_locks_and_channels(
    ann: Visitor, world: BrowserWorld, without: tuple[str, ...]
) -> None:
    """A lease takes turns, events bring the news without a token; a logout is one of all tabs."""
    beside = ann.tab(PLAIN)
    beside.evaluate(WATCH_STORAGE)
    tabs, sid = twelve(ann, without=without)
    [before] = families_of(world, ann.person.sub)
    rounds = refresh_in_rounds(ann, tabs, LEASED, PAST_REUSE_INTERVAL)
    assert rounds.faults == {}
    assert {status_of(tab) for tab in tabs} == {("signedIn", sid)}
    [after] = families_of(world, ann.person.sub)
    assert (after.sid, after.gen - before.gen) == (sid, LEASED)
    if "openChannel" in without:
        # News through storage has no token, so that every tab asks. With a channel most may ask all
        # the same: under a lease they come one after the other, each with activity to report.
        assert rounds.asked >= TABS * LEASED
    tabs[5].evaluate("session.logout()")
    for tab in tabs:
        comes_true(tab, "session.state.status === 'signedOut'")
    assert {status_of(tab) for tab in tabs} == {("signedOut", "logout")}
    assert families_of(world, ann.person.sub) == []
    written = beside.evaluate("written")
    keys = {key for key, _ in written}
    assert ("lease" in keys, "news" in keys) == ("locks" in without, "openChannel" in without)
    assert not any('"token"' in (value or "") for _, value in written)
