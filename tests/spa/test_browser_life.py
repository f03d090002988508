"""What befalls a tab: frozen, put away and brought back, offline, asleep, with wrong clocks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from harness.browser import IDLE, BrowserWorld, Visitor
from harness.module_tabs import PLAIN, comes_true, families_of, log_in, module_tab, status_of
from harness.processes import free_port, short_directory, until
from harness.real_tabs import RealTabs, debugging
from harness.web import ask
from playwright.sync_api import Page, expect

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

# What shows whether the tab runs, and when it was out.
COUNT = """
() => {
  window.ticks = 0;
  setInterval(() => { ticks += 1 }, 50);
  document.addEventListener("freeze", () => { window.froze = true });
  document.addEventListener("resume", () => { window.resumed = performance.now() });
  session.onChange(({status}) => { if (status === "signedOut") window.out = performance.now() });
}
"""

# Moves the page's wall clock, and not its monotonic one.
WALL = "(ms) => { const now = Date.now; Date.now = () => now() + ms }"
A_LOOK = 15
"""Seconds: so often the module looks at its clock."""

# What the browser tells a page that it keeps; nobody could look into one that it has put away.
PUT_AWAY = "dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))"
BRING_BACK = "dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))"

# Notes, from the moment in which the page is back and at every frame, whether its inside is seen.
WATCH_INSIDE = """
(() => {
  window.insideSeen = null;
  const look = () => {
    const views = document.querySelectorAll("#view-gateway, #view-devices, #view-password");
    if ([...views].some((view) => view.checkVisibility())) window.insideSeen += 1;
    requestAnimationFrame(look);
  };
  addEventListener("pageshow", ({persisted}) => {
    if (!persisted) return;
    window.insideSeen = 0;
    look();
  });
})();
"""


@pytest.fixture(scope="module")
def port() -> int:
    """Where Chromium lets tabs be driven that are not kept awake."""
    return free_port()


@pytest.fixture(scope="module")
def world(port: int) -> Iterator[BrowserWorld]:
    """A Chromium that keeps pages for the way back."""
    directory = short_directory("gp-life-")
    unwanted = ("--disable-back-forward-cache",)
    switches = (debugging(port),)
    with BrowserWorld(directory, whole=True, switches=switches, unwanted=unwanted) as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture
def bea(world: BrowserWorld, port: int) -> Iterator[Visitor]:
    """A person whose tabs the browser hides and freezes."""
    yield RealTabs(world, port)
    world.forget()


def set_life(page: Page, state: str) -> None:
    """`frozen`: its timers and tasks stand still; `active`: they go on."""
    session = page.context.new_cdp_session(page)
    session.send("Page.setWebLifecycleState", {"state": state})
    session.detach()


def freeze(page: Page, beside: Page) -> None:
    """Have the browser freeze a tab, and see that it did: it was told, its timers stand still."""
    page.evaluate(COUNT)
    comes_true(page, "ticks > 1")
    set_life(page, "frozen")
    assert page.evaluate("window.froze") is True
    ticks = page.evaluate("ticks")
    beside.wait_for_timeout(300)
    assert page.evaluate("ticks") == ticks


def thaw(page: Page) -> None:
    """Let a frozen tab go on."""
    set_life(page, "active")


def asked_by(*pages: Page) -> int:
    """How often these tabs have asked for a refresh so far."""
    return sum(int(page.evaluate("asked")) for page in pages)


def asks_by_itself(asked: int, *pages: Page) -> None:
    """Wait until one of these tabs has refreshed since, without anybody's call."""
    for _ in until(10, "a refresh that nobody called for", pause=0):
        if asked_by(*pages) > asked:
            return
        pages[0].wait_for_timeout(20)


def memory_of(page: Page) -> str:
    """Every object and string that the page's scripts can still get at."""
    session = page.context.new_cdp_session(page)
    chunks: list[str] = []
    session.on("HeapProfiler.addHeapSnapshotChunk", lambda event: chunks.append(event["chunk"]))
    session.send("HeapProfiler.collectGarbage")
    session.send("HeapProfiler.takeHeapSnapshot", {"reportProgress": False})
    session.detach()
    return "".join(chunks)


def is_in(page: Page, sid: str) -> None:
    """The tab's session is the one named, perhaps in a moment."""
    comes_true(page, "session.state.status === 'signedIn'")
    assert status_of(page) == ("signedIn", sid)


def test_a_frozen_tab_that_holds_the_lock_stops_nobody(bea: Visitor) -> None:
    """The others take the lock after its time, refresh, and stay signed in; so does it later."""
    frozen = module_tab(bea)
    sid = log_in(frozen, bea)
    tab = module_tab(bea)
    names = frozen.evaluate(HOLD_LOCK)
    assert names == [f"gatepass:{bea.world.issuer}"]
    freeze(frozen, tab)
    asked = tab.evaluate("asked")
    tab.evaluate("window.done = false; void session.stayActive().then(() => { done = true })")
    assert tab.evaluate("done") is False
    # The time of this tab alone: the frozen one would not answer.
    tab.evaluate("(ms) => __pwClock.controller.fastForward(ms)", LOCK_PATIENCE * 1000)
    comes_true(tab, "done")
    assert tab.evaluate("asked") > asked
    is_in(tab, sid)
    thaw(frozen)
    is_in(frozen, sid)


@pytest.mark.parametrize("without", [(), ("openChannel",)], ids=["channel", "storage"])
def test_a_tab_that_was_frozen_during_a_logout_is_out_when_it_resumes(
    bea: Visitor, without: tuple[str, ...]
) -> None:
    """What it missed it hears or asks for. News on a channel Chromium lets in even before."""
    frozen = module_tab(bea, without=without)
    sid = log_in(frozen, bea)
    tab = module_tab(bea, without=without)
    freeze(frozen, tab)
    tab.evaluate("session.logout()")
    tab.wait_for_timeout(200)
    if without:
        assert status_of(frozen) == ("signedIn", sid)
    thaw(frozen)
    comes_true(frozen, "session.state.status === 'signedOut'")
    assert families_of(bea.world, bea.person.sub) == []


def test_a_tab_that_was_frozen_asks_when_it_resumes(bea: Visitor) -> None:
    """Its session was ended at the issuer and no tab knows; two seconds after, this one does."""
    site = bea.world.demo.site
    for _ in range(3):
        frozen = module_tab(bea)
        sid = log_in(frozen, bea)
        freeze(frozen, bea.tab(PLAIN))
        token = site.login(bea.person.username, bea.person.password).granted()["access_token"]
        assert ask("DELETE", f"{site.base_url}/sessions/{sid}", token=token).status == 200
        assert status_of(frozen) == ("signedIn", sid)
        thaw(frozen)
        comes_true(frozen, "session.state.status === 'signedOut'", within=30)
        assert status_of(frozen) == ("signedOut", "ended")
        took = frozen.evaluate("out - resumed")
        assert took >= 0
        if took < 2000:  # on a machine that stood still it takes longer, but not each time
            break
        frozen.close()
    assert took < 2000


def test_a_tab_brought_to_the_front_averts_the_end(bea: Visitor) -> None:
    """Whoever goes to a tab is there; behind another it lets the end come near."""
    tab = module_tab(bea)
    log_in(tab, bea)
    front = bea.tab(PLAIN)
    comes_true(tab, "document.visibilityState === 'hidden'")
    bea.world.moved(IDLE - 90)
    comes_true(tab, "session.state.expiring === 'idle'")
    front.bring_to_front()
    front.wait_for_timeout(100)
    assert tab.evaluate("session.state.expiring") == "idle"
    tab.bring_to_front()
    comes_true(tab, "session.state.expiring === null")
    assert tab.evaluate("session.remaining().idle") > IDLE - 10


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


def test_a_page_that_was_put_away_or_left_has_no_token_in_memory(ann: Visitor) -> None:
    """The token is let go before the browser keeps the page, and when the person signs out."""
    tab = module_tab(ann)
    with tab.expect_response("**/login") as answer:
        log_in(tab, ann)
    for leave in (PUT_AWAY, "session.logout()"):
        signature = answer.value.json()["access_token"].rpartition(".")[2]
        assert signature in memory_of(tab)
        tab.evaluate(leave)
        assert signature not in memory_of(tab)
        if leave == PUT_AWAY:
            with tab.expect_response("**/refresh") as answer:
                tab.evaluate(BRING_BACK)
            comes_true(tab, "session.state.status === 'signedIn'")


def test_a_page_of_the_demo_comes_back_without_a_look_inside(ann: Visitor) -> None:
    """Put away and logged out elsewhere, it never shows what only the person may see."""
    tab = ann.context.new_page()
    tab.add_init_script(WATCH_INSIDE)
    tab.goto(ann.world.issuer)
    ann.sign_in(tab)
    ann.world.foreign.page("/away", "<body>Elsewhere.")
    tab.goto(ann.world.foreign.url("other.localhost", "/away"))
    ann.tab().get_by_role("button", name="Sign out").click()
    tab.go_back(wait_until="commit")
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    assert tab.evaluate("window.insideSeen") == 0


def test_offline_keeps_the_session_and_online_asks_at_once(ann: Visitor) -> None:
    """However long it lasted: the network's return is enough, while every timer stands still."""
    tab = module_tab(ann)
    sid = log_in(tab, ann)
    ann.context.set_offline(True)
    for _ in range(3):
        ann.world.moved(60)
        code = tab.evaluate("session.stayActive().catch((error) => error.code)")
        assert code == "unreachable"
    assert tab.evaluate("[session.state.status, session.state.reachable]") == ["signedIn", False]
    ann.hold()
    ann.context.set_offline(False)
    comes_true(tab, "session.state.reachable === true", within=30)
    is_in(tab, sid)


@pytest.mark.parametrize("monotonic", ["goes on", "stands still"])
def test_a_night_asleep_ends_the_session_and_a_nap_does_not(
    ann: Visitor, world: BrowserWorld, monotonic: str
) -> None:
    """A sleep within the idle time is a refresh; beyond it `restoring`, the end, and why."""

    def sleep(seconds: int) -> None:
        if monotonic == "goes on":
            world.moved(seconds)
            return
        world.issuer_moved(seconds + A_LOOK)
        tab.evaluate(WALL, seconds * 1000)
        ann.context.clock.fast_forward(A_LOOK * 1000)

    tab = module_tab(ann)
    sid = log_in(tab, ann)
    asked = asked_by(tab)
    sleep(1500)
    asks_by_itself(asked, tab)
    is_in(tab, sid)
    tab.evaluate("session.stayActive()")
    tab.evaluate("states.length = 0")
    sleep(4500)
    comes_true(tab, "session.state.status === 'signedOut'")
    assert tab.evaluate("states") == [["restoring", None], ["signedOut", "idle"]]


@pytest.mark.parametrize("hours", [-30, -1, 1, 3000])
def test_a_wall_clock_that_is_set_wrong_logs_nobody_out(ann: Visitor, hours: int) -> None:
    """Back or forward, by an hour or by months: the issuer says that the session lives.

    And the tokens' times are kept: each is replaced in time, and no request is refused.
    """
    tab = module_tab(ann)
    other = module_tab(ann)
    sid = log_in(tab, ann)
    for page in (tab, other):
        page.evaluate(WALL, hours * 3.6e6)
    ann.world.issuer_moved(11)
    tab.evaluate("session.stayActive()")
    assert tab.evaluate("async () => (await session.sessions()).length") == 1
    refused: list[str] = []
    ann.context.on("response", lambda each: refused.append(each.url) if each.status == 401 else 0)
    asked = asked_by(tab, other)
    ann.world.issuer_moved(290)
    ann.context.clock.fast_forward(290_000)
    asks_by_itself(asked, tab, other)
    is_in(tab, sid)
    ann.world.issuer_moved(20)  # the token before is over by now
    for page in (tab, other):
        assert page.evaluate("async () => (await session.fetch('/api')).status") == 200
    assert refused == []
    for page in (tab, other, module_tab(ann)):
        is_in(page, sid)


def test_an_elevation_is_that_of_every_tab(ann: Visitor, world: BrowserWorld) -> None:
    """RFC 9470: a new session in place of the old one, and a refresh of any tab goes on in it."""
    mine, other = module_tab(ann), module_tab(ann)
    sid = log_in(mine, ann)
    comes_true(other, f"session.state.sid === '{sid}'")
    wrong = "session.elevate({currentPassword: 'not this one'}).catch((error) => error.error)"
    assert mine.evaluate(wrong) == "invalid_grant"
    elevate = "async (currentPassword) => (await session.elevate({currentPassword})).sid"
    raised = mine.evaluate(elevate, ann.person.password)
    assert raised != sid
    comes_true(other, f"session.state.sid === '{raised}'")
    for tab in (other, mine):
        tab.evaluate("session.stayActive()")
        assert tab.evaluate("session.state.status") == "signedIn"
    [family] = families_of(world, ann.person.sub)
    assert (family.sid, family.elevation is not None) == (raised, True)
