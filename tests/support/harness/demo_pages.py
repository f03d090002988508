"""What a person does on the demo's pages, beside signing in."""

from __future__ import annotations

from harness.browser import ABSOLUTE, IDLE, BrowserWorld
from playwright.sync_api import Page, expect


def go(page: Page, name: str) -> None:
    """Follow a link of the navigation."""
    page.get_by_role("link", name=name).click()


def fill_change(page: Page, current: str, new: str) -> None:
    """Fill in the change of the password, and send it."""
    page.get_by_label("Current password", exact=True).fill(current)
    page.get_by_label("New password", exact=True).fill(new)
    page.get_by_role("button", name="Change password").click()


def near_the_absolute_end(page: Page, world: BrowserWorld) -> None:
    """Hours of activity, until the page warns of the end that cannot be averted."""
    dialog = page.get_by_role("alertdialog")
    passed = 0
    while passed < ABSOLUTE - 2 * IDLE:
        world.moved(IDLE - 60)
        passed += IDLE - 60
        dialog.wait_for()
        page.keyboard.press("Escape")
        expect(page.locator("#idle-left")).to_contain_text("29:")
    world.moved(ABSOLUTE - passed - 240)
    # Both ends are near now, the idle one nearer.
    page.get_by_role("button", name="Stay signed in").click()
    expect(dialog).to_contain_text("It has lasted as long as a session may")
