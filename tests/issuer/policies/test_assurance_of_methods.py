"""The level of assurance that authentication methods reach, by SP 800-63B-4 section 2."""

from __future__ import annotations

import pytest

from issuer.policies.assurance import acr_of, factors_of, resists_phishing


@pytest.mark.parametrize(
    ("amr", "acr", "factors", "resists"),
    [
        ("", "aal1", 0, False),
        ("pwd", "aal1", 1, False),
        ("pwd pin kba", "aal1", 1, False),
        ("pwd mfa", "aal1", 1, False),
        ("mfa", "aal1", 0, False),
        ("otp", "aal1", 1, False),
        ("hwk user", "aal1", 1, True),
        ("pwd otp mfa", "aal2", 2, False),
        ("pwd swk user mfa", "aal2", 2, True),
        ("pwd hwk user mfa", "aal3", 2, True),
        ("hwk pin", "aal3", 2, True),
        ("pwd fpt", "aal2", 2, False),
        ("pwd otp hwk", "aal3", 2, True),
    ],
)
def test_methods_reach_a_level(amr: str, acr: str, factors: int, resists: bool) -> None:
    """Two kinds of factor make the second, a key in hardware among them the third."""
    methods = amr.split()
    assert (acr_of(methods), factors_of(methods), resists_phishing(methods)) == (
        acr,
        factors,
        resists,
    )
