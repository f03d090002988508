"""docs/threat-model.md claims nothing without a test that holds it, or says that it is accepted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROW = re.compile(r"^\| (?!Threat|Asset|---)(.+?) \| (\w+) \| (.+?) \| ?(.*?) ?\|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@pytest.fixture(scope="module")
def page(project_root: Path) -> str:
    """The document."""
    return (project_root / "docs" / "threat-model.md").read_text("utf-8")


def rows(page: str) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Each threat with its verdict and its tests."""
    tables = page[page.index("## On the network") :]
    return [(row[0], row[1], _TEST.findall(row[3])) for row in _ROW.findall(tables)]


@pytest.mark.parametrize(("stem", "least"), [("threat-model", 50), ("durability", 10)])
def test_every_named_test_is_there(stem: str, least: int, project_root: Path) -> None:
    """File and function exist, of every test that the page names."""
    text = (project_root / "docs" / f"{stem}.md").read_text("utf-8")
    named = set(_TEST.findall(text))
    assert len(named) >= least
    missing = [
        f"{path}::{name}"
        for path, name in sorted(named)
        if not (project_root / path).is_file()
        or not re.search(
            rf"^(?:async )?def {name}\(", (project_root / path).read_text("utf-8"), re.MULTILINE
        )
    ]
    assert missing == []


def test_every_claim_has_its_test(page: str) -> None:
    """What is prevented or detected names one; what is accepted has none and gives its reason."""
    found = rows(page)
    tables = page[page.index("## On the network") :].splitlines()
    lines = [line for line in tables if re.match(r"\| (?!Threat)", line)]
    assert len(found) == len(lines)
    for threat, verdict, tests in found:
        assert verdict in {"prevented", "detected", "accepted"}, threat
        assert bool(tests) is (verdict != "accepted"), threat


@pytest.mark.parametrize(
    "attacker",
    [
        "On the network",
        "A browser, and scripts in it",
        "A stolen token",
        "Stolen storage",
        "A rogue gateway or client",
        "An insider",
        "Denial of service",
        "Accounts",
        "The supply chain",
    ],
)
def test_every_attacker_has_a_table(page: str, attacker: str) -> None:
    """Each is looked at, and something of each is accepted in so many words."""
    section = page.split(f"## {attacker}\n", 1)[1].split("\n## ", 1)[0]
    assert len(_ROW.findall(section)) >= 4
    assert "| accepted |" in section
