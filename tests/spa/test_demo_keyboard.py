"""The demo's pages by keyboard alone."""

from __future__ import annotations

from harness.browser import (
    IDLE,
    PASSWORD,
    BrowserWorld,
    Visitor,
)
from harness.demo_pages import beside, is_out, tab_to, tabbed_through
from playwright.sync_api import expect

NEW_PASSWORD = "forty purple lanterns adrift"
GATED = True  # pages, issuer and API are all behind Caddy


def test_a_person_signs_in_moves_on_and_out_by_keyboard(ann: Visitor) -> None:
    """Without a pointer; a new view's heading takes the focus, a button keeps it."""
    tab = ann.tab()
    expect(tab.get_by_label("User name")).to_be_focused()
    tab.keyboard.type(ann.person.username)
    tab.keyboard.press("Tab")
    tab.keyboard.type(ann.person.password)
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", name="What the gateway says")).to_be_focused()
    skip, devices = tab.get_by_role("link", name="Skip"), tab.get_by_role("link", name="Devices")
    tab_to(tab, devices, "Shift+Tab")
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", name="Your devices")).to_be_focused()
    expect(devices).to_have_attribute("aria-current", "page")
    tab.go_back()
    expect(tab.get_by_role("heading", name="What the gateway says")).to_be_focused()
    tab_to(tab, skip, "Shift+Tab")
    expect(skip).to_be_in_viewport()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("main")).to_be_focused()
    assert "content" not in tab.url
    tab.keyboard.press("Tab")
    pause = tab.locator("#pause")
    for text in ("Go on", "Pause"):
        expect(pause).to_be_focused()
        tab.keyboard.press("Space")
        expect(pause).to_have_accessible_name(text)
    tab_to(tab, tab.get_by_role("button", name="Sign out"), "Shift+Tab")
    tab.keyboard.press("Enter")
    is_out(tab, "You are signed out")
    expect(tab.get_by_label("User name")).to_be_focused()


def test_devices_are_signed_out_by_keyboard(ann: Visitor, world: BrowserWorld) -> None:
    """One of them, then all: the question has the keyboard to itself, and Escape is no."""
    tab = ann.signed_in()
    _, other = beside(world, ann.person)
    tab_to(tab, tab.get_by_role("link", name="Devices"), "Shift+Tab")
    tab.keyboard.press("Enter")
    tab_to(tab, tab.locator("#devices li").nth(1).get_by_role("button"))
    tab.keyboard.press("Enter")
    expect(tab.locator("#devices li")).to_have_count(1)
    expect(tab.get_by_role("heading", name="Your devices")).to_be_focused()
    is_out(other, "This session was ended")
    everywhere = tab.locator("#everywhere")
    tab_to(tab, everywhere)
    tab.keyboard.press("Enter")
    dialog = tab.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    assert tabbed_through(tab, 6) == {"Sign out everywhere", "Cancel"}
    tab.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(everywhere).to_be_focused()
    tab.keyboard.press("Enter")
    tab_to(tab, dialog.get_by_role("button", name="Sign out everywhere"))
    tab.keyboard.press("Enter")
    is_out(tab, "You are signed out")
    expect(tab.get_by_label("User name")).to_be_focused()


def test_a_password_is_changed_by_keyboard(ann: Visitor, world: BrowserWorld) -> None:
    """Look at what was typed, be refused, be asked "still there?", and go on where one was."""
    tab = ann.signed_in()
    tab_to(tab, tab.get_by_role("link", name="Password"), "Shift+Tab")
    tab.keyboard.press("Enter")
    current, new = (tab.get_by_label(f"{name} password", exact=True) for name in ("Current", "New"))
    tab_to(tab, current)
    tab.keyboard.type("not the current one")
    tab.keyboard.press("Tab")
    reveal = tab.locator("[data-reveals=current]")
    for text, kind in (("Hide", "text"), ("Show", "password")):
        tab.keyboard.press("Space")
        expect(current).to_have_attribute("type", kind)
        expect(reveal).to_have_text(text)
        expect(reveal).to_have_accessible_name(f"{text} current password")
        expect(reveal).to_be_focused()
    tab_to(tab, new)
    tab.keyboard.type(NEW_PASSWORD)
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("alert")).to_have_text("The current password is wrong.")
    expect(current).to_be_focused()
    world.moved(IDLE - 60)
    expect(tab.get_by_role("button", name="Stay signed in")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("alertdialog")).to_be_hidden()
    expect(current).to_be_focused()
    tab.keyboard.press("Control+A")
    tab.keyboard.type(PASSWORD)
    tab.keyboard.press("Enter")
    expect(tab.locator("#notice")).to_contain_text("Your password is changed")
    expect(tab.get_by_role("heading", name="Change your password")).to_be_focused()
