"""docs/advisories.md and the tests that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "advisories.md"
NOT_HERE = "Does not apply: "


def rows() -> list[list[str]]:
    """The cells of each row: id, product, what it was, here."""
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if re.match(r"(CVE|GHSA|DSA|PYSEC)-", row[0])]


def named_there() -> set[str]:
    """The names of the tests of both files."""
    trees = [ast.parse(path.read_text("utf-8")) for path in HERE.glob("test_*advisories.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    assert len(trees) == 2
    return {name for name in names if name.startswith("test_")}


def test_every_row_has_its_test_or_its_reason() -> None:
    """A test whose name begins with the advisory's id, or why there is none."""
    there = named_there()
    assert len(rows()) > 70
    for identity, _, what, here in rows():
        assert what
        if here.startswith(NOT_HERE):
            assert len(here) > len(NOT_HERE) + 10, identity
            continue
        name = here.strip("`")
        assert name in there, f"{identity}: {name}"
        assert name.startswith(f"test_{identity.lower().replace('-', '_')}_"), identity


def test_every_test_has_its_row() -> None:
    """No advisory is tested that the page does not tell of, and none stands there twice."""
    named = [here.strip("`") for _, _, _, here in rows() if not here.startswith(NOT_HERE)]
    assert sorted(named) == sorted(named_there())
    identities = [row[0] for row in rows()]
    assert len(identities) == len(set(identities))
