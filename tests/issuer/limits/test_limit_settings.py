"""Limits as they are written down: the defaults, and what the page says of them."""

from __future__ import annotations

import re
from pathlib import Path

from issuer.limits.settings import LimitSettings
from issuer.limits.windows import parse_windows

PAGE = Path(__file__).resolve().parents[3] / "docs" / "limits.md"


def test_the_page_has_the_defaults() -> None:
    """What docs/limits.md shows as the defaults is the defaults, all of them."""
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    given = LimitSettings().model_dump()
    assert dict(rows) == {name: str(value) for name, value in given.items()}


def test_the_defaults_stay_under_the_hundred() -> None:
    """SP 800-63B-4 section 3.2.2: strangers have fewer than 100 tries in the longest window."""
    given = LimitSettings()
    for text in (given.guesses_account, given.guesses_account_network):
        *_, longest = sorted(parse_windows(text), key=lambda item: item.get_expiry())
        assert longest.get_expiry() >= 86_400
        assert longest.amount < 100
    assert all(parse_windows(text) for text in given.model_dump(exclude={"sessions"}).values())
    assert parse_windows("") == parse_windows("  ") == ()
