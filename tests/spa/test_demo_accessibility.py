"""axe on every page of the demo, in light and dark, on a desktop and on a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from harness.axe import NARROWEST, is_accessible, look_at, overflow
from harness.browser import DESKTOP, PASSWORD, PHONE, BrowserWorld, Visitor
from harness.demo_factors import with_app
from harness.demo_pages import fill_change, go, near_the_absolute_end
from harness.web import ask
from playwright.sync_api import Page, expect

REFRESH = "**/refresh"
OBSCURED = ("elmPartiallyObscuring: ",)
"""Why axe cannot reckon a contrast on a narrow screen: a text that wraps in a dialog."""


@pytest.fixture
def reader(world: BrowserWorld) -> Iterator[Visitor]:
    """A person who would rather see nothing move: axe must not look at half a fade."""
    yield world.visitor(reduced_motion="reduce")
    world.forget()


def _restoring(reader: Visitor) -> Page:
    tab = reader.signed_in()
    tab.route(REFRESH, lambda route: None)  # it is never answered
    tab.reload()
    heading = tab.get_by_role("heading", name="One moment…")
    expect(heading).to_have_css("opacity", "1")
    return tab


def _sign_in_refused(reader: Visitor) -> Page:
    tab = reader.tab()
    tab.get_by_label("User name").fill("nobody")
    tab.get_by_label("Password", exact=True).fill("nothing")
    tab.get_by_role("button", name="Sign in").click()
    tab.get_by_role("alert").wait_for()
    return tab


def _second_step(reader: Visitor) -> Page:
    with_app(reader)
    tab = reader.tab()
    tab.get_by_label("User name").fill(reader.person.username)
    tab.get_by_label("Password", exact=True).fill(PASSWORD)
    tab.get_by_role("button", name="Sign in").click()
    tab.get_by_label("Code from your app").fill("000000")
    tab.get_by_role("button", name="Sign in").click()
    tab.get_by_role("alert").wait_for()
    return tab


def _gateway(reader: Visitor) -> Page:
    tab = reader.signed_in()
    tab.locator("#answers tr").first.wait_for()
    return tab


def _devices(reader: Visitor) -> Page:
    tab = reader.signed_in()
    go(tab, "Devices")
    tab.locator("#devices li").first.wait_for()
    return tab


def _everywhere(reader: Visitor) -> Page:
    tab = _devices(reader)
    tab.locator("#everywhere").click()
    return tab


def _password(reader: Visitor) -> Page:
    tab = reader.signed_in()
    go(tab, "Password")
    tab.get_by_label("New password", exact=True).fill("abcdefghijklmnop")
    expect(tab.locator("#meter")).to_have_attribute("data-score", "1")
    return tab


def _password_refused(reader: Visitor) -> Page:
    tab = reader.signed_in()
    go(tab, "Password")
    fill_change(tab, "not the current one", "forty purple lanterns adrift")
    tab.get_by_role("alert").wait_for()
    return tab


def _password_changed(reader: Visitor) -> Page:
    tab = reader.signed_in()
    go(tab, "Password")
    fill_change(tab, PASSWORD, "forty purple lanterns adrift")
    expect(tab.locator("#notice")).to_contain_text("Your password is changed")
    return tab


def _expiry(reader: Visitor) -> Page:
    tab = reader.signed_in()
    reader.world.moved(1720)
    tab.get_by_role("alertdialog").wait_for()
    return tab


def _absolute(reader: Visitor) -> Page:
    tab = reader.signed_in()
    near_the_absolute_end(tab, reader.world)
    return tab


def _ended(reader: Visitor) -> Page:
    tab = reader.signed_in()
    reader.world.moved(1900)
    tab.get_by_role("heading", name="Sign in").wait_for()
    return tab


def _revoked(reader: Visitor) -> Page:
    tab = _gateway(reader)
    site = reader.world.demo.site
    token = site.login(reader.person.username, PASSWORD).granted()["access_token"]
    path = f"/sessions/{tab.locator('#sid').text_content()}"
    assert ask("DELETE", site.base_url + path, token=token).status == 200
    tab.get_by_role("heading", name="Latest answers").wait_for()
    tab.get_by_role("heading", name="Sign in").wait_for()
    expect(tab.locator("#log")).to_contain_text("The token has been revoked")
    return tab


PAGES = {
    "restoring": _restoring,
    "sign-in": lambda reader: reader.tab(),
    "refused": _sign_in_refused,
    "second-step": _second_step,
    "gateway": _gateway,
    "devices": _devices,
    "everywhere": _everywhere,
    "password": _password,
    "password-refused": _password_refused,
    "password-changed": _password_changed,
    "expiry": _expiry,
    "absolute": _absolute,
    "ended": _ended,
    "revoked": _revoked,
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_axe_finds_nothing(reader: Visitor, page: Callable[[Visitor], Page]) -> None:
    """No violation of WCAG 2.2 A and AA, nor of what axe calls best practice, in four guises.

    And nothing is wider than the screen, down to the width that WCAG 1.4.10 names.
    """
    tab = page(reader)
    for viewport in (DESKTOP, PHONE):
        tab.set_viewport_size(viewport)
        assert overflow(tab) == 0, viewport
        for scheme in ("light", "dark"):
            tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found = look_at(tab)
            assert found.wrong == [], (viewport, scheme)
            # The same colours were reckoned on the desktop.
            allowed = () if viewport == DESKTOP else OBSCURED
            assert [each for each in found.undecided if not each.startswith(allowed)] == []
    tab.set_viewport_size({**PHONE, "width": NARROWEST})
    assert overflow(tab) == 0


def test_axe_finds_what_is_wrong(world: BrowserWorld) -> None:
    """A page with pale text and no labels does not pass, so that silence means something."""
    wrong = (
        "<html><body style='color:#bbb'>Pale<input><button aria-label='Off'>On</button>"
        "<p style='color:#bbb;background:linear-gradient(#fff,#000)'>Unsure</p>"
        "<p style='width:50rem'>Wide</p></body></html>"
    )
    world.foreign.page("/bad", wrong)
    visitor = world.visitor(viewport=PHONE)
    tab = visitor.tab(origin=world.foreign.url(path="/bad").removesuffix("/"), path="")
    found = look_at(tab)
    assert {each.partition(":")[0] for each in found.wrong} >= {
        "label",
        "color-contrast",
        "html-has-lang",
        "page-has-heading-one",
        "label-content-name-mismatch",
    }
    assert any("Unsure" in each for each in found.undecided)
    with pytest.raises(AssertionError):
        is_accessible(tab)
    assert overflow(tab) > 0
    world.forget()
