"""The second step of the demo's sign-in page, in Chromium, with its virtual authenticator."""

from __future__ import annotations

import time

from harness.browser import PASSWORD, Visitor
from harness.demo_factors import VirtualAuthenticator, with_app, with_passkey
from playwright.sync_api import Page, expect

ASKED = "Code from your app, or a recovery code"
REFUSED = "That was wrong, or has been used already."


def first_step(visitor: Visitor, tab: Page) -> None:
    """Name and password; the page then asks for more."""
    tab.get_by_label("User name").fill(visitor.person.username)
    tab.get_by_label("Password", exact=True).fill(PASSWORD)
    tab.get_by_role("button", name="Sign in").click()
    expect(tab.get_by_label(ASKED)).to_be_focused()


def is_in(tab: Page) -> None:
    """The page shows the inside."""
    expect(tab.get_by_role("heading", name="What the gateway says")).to_be_visible()


def test_a_code_is_asked_for_once_the_password_was_right(ann: Visitor) -> None:
    """A wrong one can be tried again; another name begins anew; the right one lets in."""
    app = with_app(ann)
    tab = ann.tab()
    expect(tab.get_by_label(ASKED)).to_be_hidden()
    first_step(ann, tab)
    expect(tab.get_by_role("button", name="Use a passkey")).to_be_hidden()
    tab.get_by_label(ASKED).fill("000 000")
    tab.get_by_role("button", name="Sign in").click()
    expect(tab.get_by_role("alert")).to_have_text(REFUSED)
    expect(tab.get_by_label(ASKED)).to_be_focused()
    tab.get_by_label("User name").fill("somebody else")
    expect(tab.get_by_label(ASKED)).to_be_hidden()
    first_step(ann, tab)
    tab.get_by_label(ASKED).fill(app.at(int(time.time())))
    tab.keyboard.press("Enter")
    is_in(tab)
    assert ann.problems == []


def test_a_passkey_signs_in(ann: Visitor) -> None:
    """Chromium makes one, then proves it; what it cannot prove is said, and can be tried again."""
    origin = ann.world.issuer.replace("127.0.0.1", "localhost")
    tab = ann.tab(origin=origin)
    device = VirtualAuthenticator(tab)
    with_passkey(ann, tab)
    first_step(ann, tab)
    device.verifies(anybody=False)
    passkey = tab.get_by_role("button", name="Use a passkey")
    passkey.click()
    expect(tab.get_by_role("alert")).to_contain_text("The passkey was not used.")
    device.verifies(anybody=True)
    passkey.click()
    is_in(tab)
    assert ann.problems == []
