"""axe on every page of the demo, in light and dark, on a desktop and on a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from harness.browser import DESKTOP, PHONE, BrowserWorld, Visitor
from playwright.sync_api import Page, expect

RULES = {
    "runOnly": [
        "wcag2a",
        "wcag2aa",
        "wcag21a",
        "wcag21aa",
        "wcag22aa",
        "best-practice",
    ]
}


def violations(page: Page) -> list[str]:
    """What axe finds wrong: the rule, and where."""
    found = Axe().run(page, options=RULES).response
    assert found["passes"], "axe looked at nothing"
    return [
        f"{violation['id']}: {[node['html'] for node in violation['nodes']]}"
        for violation in found["violations"]
    ]


@pytest.fixture
def reader(world: BrowserWorld) -> Iterator[Visitor]:
    """A person who would rather see nothing move: axe must not look at half a fade."""
    yield world.visitor(reduced_motion="reduce")
    world.forget()


def _sign_in_refused(reader: Visitor) -> Page:
    tab = reader.tab()
    tab.get_by_label("User name").fill("nobody")
    tab.get_by_label("Password", exact=True).fill("nothing")
    tab.get_by_role("button", name="Sign in").click()
    tab.get_by_role("alert").wait_for()
    return tab


def _gateway(reader: Visitor) -> Page:
    tab = reader.signed_in()
    tab.locator("#answers tr").first.wait_for()
    return tab


def _devices(reader: Visitor) -> Page:
    tab = reader.signed_in()
    tab.get_by_role("link", name="Devices").click()
    tab.locator("#devices li").first.wait_for()
    return tab


def _everywhere(reader: Visitor) -> Page:
    tab = _devices(reader)
    tab.locator("#everywhere").click()
    return tab


def _password(reader: Visitor) -> Page:
    tab = reader.signed_in()
    tab.get_by_role("link", name="Password").click()
    tab.get_by_label("New password", exact=True).fill("abcdefghijklmnop")
    expect(tab.locator("#meter")).to_have_attribute("data-score", "1")
    return tab


def _expiry(reader: Visitor) -> Page:
    tab = reader.signed_in()
    reader.world.moved(1720)
    tab.get_by_role("alertdialog").wait_for()
    return tab


def _ended(reader: Visitor) -> Page:
    tab = reader.signed_in()
    reader.world.moved(1900)
    tab.get_by_role("heading", name="Sign in").wait_for()
    return tab


PAGES = {
    "sign-in": lambda reader: reader.tab(),
    "refused": _sign_in_refused,
    "gateway": _gateway,
    "devices": _devices,
    "everywhere": _everywhere,
    "password": _password,
    "expiry": _expiry,
    "ended": _ended,
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_axe_finds_nothing(reader: Visitor, page: Callable[[Visitor], Page]) -> None:
    """No violation of WCAG 2.2 A and AA, nor of what axe calls best practice, in four guises."""
    tab = page(reader)
    for viewport in (DESKTOP, PHONE):
        tab.set_viewport_size(viewport)
        for scheme in ("light", "dark"):
            tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert violations(tab) == [], (viewport, scheme)


def test_axe_finds_what_is_wrong(world: BrowserWorld) -> None:
    """A page with pale text and no labels does not pass, so that silence means something."""
    world.foreign.page("/bad", "<html><body style='color:#bbb'>Pale<input></body></html>")
    tab = world.visitor().tab(origin=world.foreign.url(path="/bad").removesuffix("/"), path="")
    found = "\n".join(violations(tab))
    for rule in ("label", "color-contrast", "html-has-lang"):
        assert rule in found
    world.forget()
