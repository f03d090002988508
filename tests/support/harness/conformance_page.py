"""docs/conformance.md, made from the checks and from what is known of those that fail.

`PYTHONPATH=tests/support:tests/conformance/pack python -m harness.conformance_page` writes it anew.
"""

from __future__ import annotations

from pathlib import Path

from conformance.registry import all_checks
from conformance.running import Row, summary, table
from harness.conformance_rows import KNOWN, ROWS

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "conformance.md"
HEAD = ROOT / "tests" / "conformance" / "page_head.md"


def rows() -> list[Row]:
    """Every row, as it is while the suite passes."""
    checked = [
        Row(
            clause.document,
            clause.number,
            clause.level,
            clause.what,
            check.name,
            f"not met: {KNOWN[check.name]}" if check.name in KNOWN else "met",
        )
        for check in all_checks()
        for clause in check.clauses
    ]
    return [*checked, *ROWS]


def page() -> str:
    """The page's text."""
    everything = rows()
    counts = f"{len(all_checks())} checks, {len(everything)} rows: {summary(everything)}."
    return "\n".join([HEAD.read_text("utf-8"), f"{counts}\n", table(everything)])


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
