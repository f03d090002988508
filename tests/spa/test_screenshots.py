"""The pictures of the docs, taken of the running demo.

`SCREENSHOTS=docs/assets ./run test tests/spa/test_screenshots.py` takes them anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.browser import PHONE, BrowserWorld, Visitor
from harness.processes import short_directory
from playwright.sync_api import Page, expect

GUISES = {
    "light": {"viewport": {"width": 1000, "height": 680}, "color_scheme": "light"},
    "phone": {"viewport": PHONE, "color_scheme": "dark"},
}
PICTURES = ("sign-in", "gateway", "devices", "everywhere", "password", "expiry", "revoked")
SOURCES = ("*.html", "*.css", "*.js", "*.svg")
DIGEST = "demo-pages.sha256"
"""Beside the pictures: of the pages that they were taken of."""
LISTED = "1qaz2wsx3edc4rfv"
"""A password that was found in breaches; docs/demo-pages.md says where the list is from."""
LARGEST = 120_000
"""Bytes of one picture: they are read over slow lines too."""


@pytest.fixture(scope="module")
def world() -> Iterator[BrowserWorld]:
    """A demo whose sessions last as long as the docs say."""
    directory = short_directory("gp-shot-")
    with BrowserWorld(directory, absolute=0) as running:
        yield running
    shutil.rmtree(directory)


def take(visitor: Visitor, guise: str, folder: Path) -> None:
    """Walk through the pages and take a picture of each."""
    tab = visitor.tab()

    def picture(name: str) -> None:
        tab.screenshot(path=folder / f"demo-{name}-{guise}.png", animations="disabled")

    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    picture("sign-in")
    visitor.sign_in(tab)
    answers(tab, 8)
    picture("gateway")
    elsewhere = visitor.world.visitor(visitor.person)
    elsewhere.signed_in()
    tab.get_by_role("link", name="Devices").click()
    expect(tab.locator("#devices li")).to_have_count(2)
    tab.mouse.move(0, 0)
    picture("devices")
    tab.locator("#everywhere").click()
    expect(tab.get_by_role("button", name="Cancel")).to_be_focused()
    picture("everywhere")
    tab.get_by_role("button", name="Cancel").click()
    tab.get_by_role("link", name="Password").click()
    new = tab.get_by_label("New password", exact=True)
    expect(new).to_be_visible()  # keys do not wait for it
    new.press_sequentially(LISTED)
    expect(tab.locator("#strength-text")).to_contain_text("on the list of breached passwords")
    picture("password")
    visitor.world.moved(1683)
    expect(tab.get_by_role("alertdialog")).to_be_visible()
    tab.wait_for_timeout(300)
    picture("expiry")
    tab.get_by_role("button", name="Stay signed in").click()
    tab.get_by_role("link", name="Gateway").click()
    answers(tab, 3)
    [other] = elsewhere.context.pages
    other.get_by_role("button", name="Stay signed in").click()
    other.get_by_role("link", name="Devices").click()
    other.locator("#devices li").nth(1).get_by_role("button").click()
    expect(tab.get_by_role("heading", name="Sign in")).to_be_visible()
    tab.locator("#log").scroll_into_view_if_needed()
    picture("revoked")


def answers(tab: Page, count: int) -> None:
    """Wait for so many answers of the gateway, without waiting for their seconds."""
    for _ in range(count):
        with tab.expect_response("**/api"):
            tab.clock.fast_forward(1000)


@pytest.mark.parametrize("guise", GUISES)
def test_every_picture_of_the_docs_can_be_taken_again(
    world: BrowserWorld, guise: str, tmp_path: Path, project_root: Path
) -> None:
    """The committed pictures are those that this takes, and none is large."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    take(world.visitor(**GUISES[guise]), guise, folder)
    world.forget()
    names = {f"demo-{name}-{guise}.png" for name in PICTURES}
    assert {path.name for path in folder.glob(f"demo-*-{guise}.png")} == names
    committed = project_root / "docs" / "assets"
    assert {path.name for path in committed.glob(f"demo-*-{guise}.png")} == names
    assert all((committed / name).stat().st_size < LARGEST for name in names)
    if folder != tmp_path:
        (folder / DIGEST).write_text(digest(project_root) + "\n")


def digest(project_root: Path) -> str:
    """SHA-256 of the pages' html, css, js and svg, names included."""
    pages = project_root / "spa" / "demo"
    found = sorted(path for pattern in SOURCES for path in pages.rglob(pattern))
    sources = [(path.relative_to(pages).as_posix(), path.read_text("utf-8")) for path in found]
    assert sources
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def test_the_pictures_are_of_these_pages(project_root: Path) -> None:
    """Files of the pages that have changed need pictures taken anew; the first lines here say how.
    That they look otherwise for another reason, such as an issuer's answer, is not found."""
    written = (project_root / "docs" / "assets" / DIGEST).read_text("utf-8")
    assert written.strip() == digest(project_root)
