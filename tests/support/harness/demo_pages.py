"""What a person does on the demo's pages, beside signing in, and what the pages show."""

from __future__ import annotations

from harness.browser import ABSOLUTE, IDLE, BrowserWorld, Person, Visitor
from playwright.sync_api import Locator, Page, expect


def go(page: Page, name: str) -> None:
    """Follow a link of the navigation."""
    page.get_by_role("link", name=name).click()


def fill_change(page: Page, current: str, new: str) -> None:
    """Fill in the change of the password, and send it."""
    page.get_by_label("Current password", exact=True).fill(current)
    page.get_by_label("New password", exact=True).fill(new)
    page.get_by_role("button", name="Change password").click()


def near_both_ends(page: Page, world: BrowserWorld) -> None:
    """Hours of activity, until both ends are near and the page warns of the idle one."""
    dialog = page.get_by_role("alertdialog")
    passed = 0
    while passed < ABSOLUTE - 2 * IDLE:
        world.moved(IDLE - 60)
        passed += IDLE - 60
        dialog.wait_for()
        page.keyboard.press("Escape")
        expect(page.locator("#idle-left")).to_contain_text("29:")
    world.moved(ABSOLUTE - passed - 240)
    expect(page.get_by_role("button", name="Stay signed in")).to_be_focused()


def near_the_absolute_end(page: Page, world: BrowserWorld) -> None:
    """The same, until the page warns of the end that cannot be averted."""
    near_both_ends(page, world)
    page.get_by_role("button", name="Stay signed in").click()
    warns_of_the_absolute_end(page)


def warns_of_the_absolute_end(page: Page) -> None:
    """The page says that the session will soon have lasted as long as it may."""
    warning = "It has lasted as long as a session may"
    expect(page.get_by_role("alertdialog")).to_contain_text(warning)


def verdict_is(page: Page, text: str) -> None:
    """What the gateway said last."""
    expect(page.locator("#verdict")).to_have_text(text)


def is_in(page: Page) -> None:
    """The page shows the inside."""
    expect(page.get_by_role("heading", name="What the gateway says")).to_be_visible()


def is_out(page: Page, notice: str) -> None:
    """The page shows the sign-in form, and why."""
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text=notice)).to_be_visible()


def sid_of(page: Page) -> str:
    """The session that the page shows."""
    return page.locator("#sid").text_content() or ""


def requests_of(page: Page) -> list[str]:
    """The paths that a page asks for from now on."""
    paths: list[str] = []
    page.on("request", lambda request: paths.append(request.url.split("/", 3)[3]))
    return paths


def beside(world: BrowserWorld, person: Person) -> tuple[Visitor, Page]:
    """The same person at another browser, signed in."""
    visitor = world.visitor(person)
    return visitor, visitor.signed_in()


def tab_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Press the key until the focus is there."""
    for _ in range(30):
        if target.evaluate("part => part === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} does not lead to {target}")


FOCUSED = """() => {
  const {id, innerText, tagName} = document.activeElement;
  return tagName === "BODY" ? "" : id || innerText;
}"""


def tabbed_through(page: Page, presses: int) -> set[str]:
    """The ids, or else the texts, that Tab leads to; between first and last it leads nowhere."""
    seen: set[str] = set()
    for _ in range(presses):
        page.keyboard.press("Tab")
        seen.add(page.evaluate(FOCUSED))
    return seen - {""}
