"""Which `acr` is enough where another is asked for."""

from __future__ import annotations

import pytest

from tokens.assurance import LEVELS, reaches


@pytest.mark.parametrize("acr", LEVELS)
@pytest.mark.parametrize("wanted", LEVELS)
def test_a_higher_level_reaches_a_lower_one(acr: str, wanted: str) -> None:
    """By the order of SP 800-63B-4 section 2."""
    assert reaches(acr, wanted) == (acr >= wanted)


@pytest.mark.parametrize(
    ("acr", "wanted", "enough"),
    [
        ("", "aal1", False),
        ("", "", False),
        ("gold", "gold", True),
        ("gold", "aal1", False),
        ("aal3", "gold", False),
        ("AAL3", "aal1", False),
        ("aal10", "aal1", False),
    ],
)
def test_what_is_no_level_is_compared_as_it_is(acr: str, wanted: str, enough: bool) -> None:
    """Another issuer's words reach themselves alone, and a token without `acr` reaches nothing."""
    assert reaches(acr, wanted) is enough
