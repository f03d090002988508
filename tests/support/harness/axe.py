"""axe on a page that a browser shows: what it finds wrong, and what it could not tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    # WCAG 2.5.3; axe has it switched off.
    "rules": {"label-content-name-mismatch": {"enabled": True}},
    "resultTypes": ["violations", "incomplete"],
}
NARROWEST = 320
"""CSS pixels at which nothing may scroll sideways (WCAG 1.4.10)."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What axe has to say of a page."""

    wrong: list[str]
    """The rule and where, for each violation."""
    undecided: list[str]
    """The reason and where, for each text whose contrast axe could not reckon."""


def look_at(page: Page) -> Findings:
    """Run axe on what the page shows now."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
    found: dict[str, Any] = page.evaluate("options => axe.run(options)", OPTIONS)
    assert found["passes"], "axe looked at nothing"
    return Findings(
        [
            f"{rule['id']}: {[node['html'] for node in rule['nodes']]}"
            for rule in found["violations"]
        ],
        [
            f"{node['any'][0]['data']['messageKey']}: {node['html']}"
            for rule in found["incomplete"]
            if rule["id"] == "color-contrast"
            for node in rule["nodes"]
        ],
    )


def is_accessible(page: Page) -> None:
    """Fail if axe finds anything wrong, or a contrast that it cannot reckon."""
    found = look_at(page)
    assert (found.wrong, found.undecided) == ([], [])


def overflow(page: Page) -> int:
    """CSS pixels by which the page is wider than the screen."""
    width: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return max(0, width)
