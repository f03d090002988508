"""docs/policies.md says what the presets say."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import policy_page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "policies.md"


@pytest.mark.parametrize("table", [policy_page.values, policy_page.clauses])
def test_the_page_has_the_tables_of_the_presets(table: object) -> None:
    """Every value and every clause; `python tests/support/harness/policy_page.py` prints them."""
    assert callable(table)
    assert table() in PAGE.read_text("utf-8")
