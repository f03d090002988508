"""The console in Chromium, in front of the demo: real issuer, real Redis, a real replica.

`SCREENSHOTS=docs/assets ./run test tests/spa/test_console.py` takes the pictures of the docs anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from harness.axe import NARROWEST, is_accessible, look_at, overflow
from harness.browser import DESKTOP, PASSWORD, PHONE, BrowserWorld, Person, Visitor
from harness.console_history import (
    a_day,
    put_events,
    put_keys,
    put_people,
    put_readings,
    put_session,
    put_sizes,
)
from harness.demo_factors import VirtualAuthenticator, with_passkey
from harness.processes import free_port, short_directory, until
from playwright.sync_api import Page, expect

from issuer.database import open_engine
from issuer.database.tables import audit_sessions
from issuer.key_stores import open_key_store
from issuer.settings import DEMO_SETTINGS, read_settings

GUISES = {
    "light": {"viewport": {"width": 1000, "height": 760}, "color_scheme": "light"},
    "phone": {"viewport": PHONE, "color_scheme": "dark"},
}
PAGES = ("overview", "people", "person", "clients", "keys", "gateways", "audit")
PICTURES = ("sign-in", *PAGES)
SOURCES = ("*.html", "*.css", "*.js")
DIGEST = "console-pages.sha256"
"""Beside the pictures: of the pages that they were taken of."""
LARGEST = 150_000
"""Bytes of one picture: they are read over slow lines too."""
GATEWAY = "demo-api"
UNDECIDED = (
    "imgNode: <text",
    "shortTextContent: ",
    "bgOverlap: <text",
    "elmPartiallyObscured: ",
)
"""Why axe cannot reckon a contrast: words of a plot and single digits, in the colours of those
beside them, and cells of a table that have been scrolled out of sight."""


@pytest.fixture(scope="module")
def world() -> Iterator[BrowserWorld]:
    """A demo under a name: passkeys belong to a domain, and an address is none."""
    directory, port = short_directory("gp-con-"), free_port()
    name = f"http://localhost:{port}"
    options = ("--port", str(port))
    with BrowserWorld(directory, options=options, changes={"issuer": name}) as running:
        running.issuer = name
        yield running
    shutil.rmtree(directory)


@dataclass(frozen=True, slots=True)
class Day:
    """What the pages show: the demo's database, in which a day has passed, and whose day it was."""

    engine: sa.Engine
    person: Person

    @property
    def paths(self) -> dict[str, str]:
        """Where each page is."""
        return {
            "overview": "",
            "people": "people",
            "person": f"people/{self.person.sub}",
            "clients": "clients",
            "keys": "keys",
            "gateways": "gateways",
            "audit": "audit?outcome=failure",
        }


@pytest.fixture(scope="module")
def day(world: BrowserWorld) -> Iterator[Day]:
    """The same for all tests here."""
    engine = open_engine(f"sqlite:///{world.demo.state_dir / 'gatepass.sqlite'}")
    person, now = world.person(), time.time()
    put_events(engine, list(a_day(person.sub, now)))
    put_sizes(engine, now, lambda hours: int(60 + 50 * math.sin(hours / 4)) + 200 * (5 < hours < 6))
    put_readings(engine, GATEWAY, now)
    put_people(engine, now)
    yield Day(engine, person)
    engine.dispose()


@pytest.fixture(scope="module")
def ring(world: BrowserWorld) -> None:
    """Keys of before and after the present ones, read by the issuer."""
    store = open_key_store(read_settings(world.demo.state_dir / DEMO_SETTINGS))
    count = put_keys(store, time.time())
    for _ in until(15, "the keys that were put there"):
        if len(world.demo.site.get("/.well-known/jwks.json").json["keys"]) == count:
            return


@pytest.fixture
def admin(world: BrowserWorld, day: Day) -> Iterator[Visitor]:
    """The demo's administrator, at a browser that nobody has used."""
    yield visitor(world)
    world.forget()


def visitor(world: BrowserWorld, **options: object) -> Visitor:
    """A browser of the demo's administrator."""
    told = world.demo.described
    person = Person(told["admin_username"], told["admin_password"], "")
    return world.visitor(person, **options)


def enter(admin: Visitor, path: str = "") -> Page:
    """Sign in, and be where one wanted."""
    tab = admin.tab(f"/console/{path}")
    tab.get_by_label("User name").fill(admin.person.username)
    tab.get_by_label("Password").fill(admin.person.password)
    tab.get_by_role("button", name="Sign in").click()
    expect(tab.get_by_role("button", name="Sign out")).to_be_visible()
    return tab


def session_of(world: BrowserWorld, person: Person) -> str:
    """A refresh token of a new session, in an app."""
    grant = world.demo.site.login(person.username, PASSWORD, label="Firefox on Linux").granted()
    return str(grant["refresh_token"])


# --- the tour ------------------------------------------------------------------------------------


def test_a_session_is_found_and_ended_by_keyboard_alone(
    world: BrowserWorld, admin: Visitor
) -> None:
    """From the sign-in to the ended session without a pointer, and no policy is offended."""
    person = world.person()
    refresh_token = session_of(world, person)
    tab = admin.tab("/console")
    expect(tab.get_by_label("User name")).to_be_focused()
    tab.keyboard.type(admin.person.username)
    tab.keyboard.press("Tab")
    tab.keyboard.type(admin.person.password)
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", name="Overview")).to_be_visible()
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("link", name="Skip to content")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("main")).to_be_focused()
    tab.get_by_role("link", name="People", exact=True).press("Enter")
    tab.get_by_label("Name begins with").press_sequentially(person.username)
    tab.keyboard.press("Enter")
    tab.get_by_role("link", name=person.username, exact=True).first.press("Enter")
    tab.get_by_role("button", name="End session 1").press("Enter")
    expect(tab.get_by_role("status")).to_have_text("The session has ended.")
    assert world.demo.site.refresh(refresh_token).status == 400
    tab.get_by_role("button", name="Sign out").press("Enter")
    expect(tab.get_by_role("status")).to_have_text("You are signed out.")
    assert admin.cookies() == {}
    assert admin.problems == []


def test_after_five_minutes_the_password_is_asked_for_and_the_change_goes_on(
    world: BrowserWorld, admin: Visitor
) -> None:
    """One form in between; a wrong password is said so, and nothing has been done then."""
    person = world.person()
    refresh_token = session_of(world, person)
    tab = enter(admin, f"people/{person.sub}")
    world.issuer_moved(301)
    tab.get_by_role("button", name="End all sessions").click()
    expect(tab.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    expect(tab.get_by_label("Password")).to_be_focused()
    is_accessible(tab)
    tab.get_by_label("Password").fill("something else")
    tab.get_by_role("button", name="Go on").click()
    expect(tab.get_by_role("alert")).to_have_text("The password is wrong.")
    refreshed = world.demo.site.refresh(refresh_token).granted()["refresh_token"]
    tab.get_by_label("Password").fill(admin.person.password)
    tab.get_by_role("button", name="Go on").click()
    expect(tab.get_by_role("status")).to_have_text("Every session of this person has ended.")
    assert world.demo.site.refresh(refreshed).status == 400
    assert admin.problems == []


def test_a_passkey_opens_the_console(world: BrowserWorld) -> None:
    """Chromium makes one, and proves it once the password was right; so does each change."""
    person = world.person(roles=("admin",))
    who = world.visitor(person)
    tab = who.tab("/console")
    VirtualAuthenticator(tab)
    with_passkey(who, tab)
    passkey = tab.get_by_role("button", name="Use a passkey")

    def prove(button: str) -> None:
        tab.get_by_label("Password").fill(PASSWORD)
        tab.get_by_role("button", name=button).click()
        expect(tab.get_by_role("alert").first).to_contain_text("This account has a second factor")
        is_accessible(tab)
        tab.get_by_label("Password").fill(PASSWORD)
        passkey.click()

    tab.get_by_label("User name").fill(person.username)
    prove("Sign in")
    expect(tab.get_by_role("heading", name="Overview")).to_be_visible()
    world.issuer_moved(301)
    tab.goto(f"{world.issuer}/console/people/{world.person().sub}")
    tab.get_by_role("button", name="End all sessions").click()
    prove("Go on")
    expect(tab.get_by_role("status")).to_have_text("Every session of this person has ended.")
    assert who.problems == []
    world.forget()


def test_a_revocation_shows_in_the_live_plot(world: BrowserWorld, admin: Visitor) -> None:
    """Without a reload, within seconds; and not while it is paused or read."""
    tab = enter(admin, "gateways")
    card = tab.get_by_role("region", name=GATEWAY, exact=True)
    expect(card.get_by_text("in step")).to_be_visible()
    held = card.locator("dd").nth(1)
    before = int(held.text_content() or "")
    state = tab.locator("#live-state")
    expect(state).to_have_text("Live: renewed every 2 seconds.")
    card.locator("summary").click()
    tab.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("Paused.")
    token = session_of(world, world.person())
    assert world.demo.site.post("/logout", {"refresh_token": token}).status == 200
    tab.clock.fast_forward(5000)
    expect(held).to_have_text(str(before))
    tab.get_by_role("button", name="Pause").click()
    expect(held).to_have_text(str(before + 1))
    expect(card.locator("details")).to_have_attribute("open", "")
    expect(card.locator("tbody tr").last).to_contain_text("1")
    assert admin.problems == []


def test_the_live_page_of_an_ended_session_asks_to_sign_in(
    world: BrowserWorld, admin: Visitor
) -> None:
    """By itself: nobody goes on looking at numbers that stand still."""
    tab = enter(admin, "gateways")
    world.issuer_moved(901)
    tab.clock.fast_forward(2500)
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    assert admin.problems == []


def test_what_people_call_themselves_is_text(day: Day, admin: Visitor) -> None:
    """Markup in a browser's name neither runs nor shows as markup."""
    hostile = "<img src=x onerror=document.title=1><script>document.title=1</script>"
    put_session(day.engine, day.person.sub, "h" * 22, time.time(), user_agent=hostile)
    tab = enter(admin, "people")
    expect(tab.get_by_text(hostile)).to_be_visible()
    expect(tab).to_have_title("People · Gatepass console")
    assert admin.problems == []
    with day.engine.begin() as connection:
        connection.execute(sa.delete(audit_sessions).where(audit_sessions.c.sid == "h" * 22))


@pytest.mark.parametrize("page", ["sign-in", *PAGES])
def test_axe_finds_nothing_wrong(day: Day, admin: Visitor, page: str) -> None:
    """Light on a desktop, dark on a phone; and nothing is wider than 320 pixels (WCAG 1.4.10)."""
    tab = admin.tab("/console") if page == "sign-in" else enter(admin, day.paths[page])
    for details in tab.locator("details").all():
        details.locator("summary").click()
    for viewport, scheme in ((DESKTOP, "light"), (PHONE, "dark")):
        tab.set_viewport_size(viewport)
        tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found = look_at(tab)
        assert found.wrong == [], viewport
        assert [each for each in found.undecided if not each.startswith(UNDECIDED)] == []
        assert overflow(tab) == 0, viewport
    tab.set_viewport_size({**PHONE, "width": NARROWEST})
    assert overflow(tab) == 0
    assert admin.problems == []


# --- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("guise", GUISES)
def test_every_picture_of_the_docs_can_be_taken_again(
    world: BrowserWorld, day: Day, ring: None, guise: str, tmp_path: Path, project_root: Path
) -> None:
    """The committed pictures are those that this takes, and none is large."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    who = visitor(world, **GUISES[guise])
    session_of(world, day.person)
    for name in PICTURES:
        if name == "sign-in":
            tab = who.tab("/console")
        elif name == "overview":
            tab = enter(who)
        else:
            tab.goto(f"{world.issuer}/console/{day.paths[name]}")
        tab.screenshot(path=folder / f"console-{name}-{guise}.png", animations="disabled")
    world.forget()
    names = {f"console-{name}-{guise}.png" for name in PICTURES}
    committed = project_root / "docs" / "assets"
    for place in (folder, committed):
        assert {path.name for path in place.glob(f"console-*-{guise}.png")} == names
    assert all((committed / name).stat().st_size < LARGEST for name in names)
    if folder != tmp_path:
        (folder / DIGEST).write_text(digest(project_root) + "\n")


def digest(project_root: Path) -> str:
    """SHA-256 of the pages' templates, style and script, names included; of no Python."""
    pages = project_root / "issuer" / "console"
    found = sorted(path for pattern in SOURCES for path in pages.rglob(pattern))
    sources = [(path.relative_to(pages).as_posix(), path.read_text("utf-8")) for path in found]
    assert sources
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def test_the_pictures_are_of_these_pages(project_root: Path) -> None:
    """Templates, style and script that have changed need pictures taken anew; the first lines here
    say how. That the pages look otherwise for another reason is not found."""
    written = (project_root / "docs" / "assets" / DIGEST).read_text("utf-8")
    assert written.strip() == digest(project_root)
