"""What a login lacks for a client is said in words."""

from __future__ import annotations

import pytest

from issuer.policies.sufficiency import missing_at

PWD, OTP, SYNCED, HARDWARE = (
    ("pwd",),
    ("pwd", "otp", "mfa"),
    ("pwd", "swk", "user", "mfa"),
    ("pwd", "hwk", "user", "mfa"),
)


@pytest.mark.parametrize(
    ("acr", "resistant", "amr", "lacks"),
    [
        ("aal1", False, PWD, ""),
        ("aal1", True, PWD, "a passkey or security key"),
        ("aal2", False, PWD, "a second factor beside a password"),
        ("aal2", False, ("otp",), "a second factor beside a one-time code"),
        ("aal2", False, (), "a second factor beside what there was"),
        ("aal2", False, OTP, ""),
        ("aal2", True, OTP, "a passkey or security key"),
        ("aal2", True, SYNCED, ""),
        ("aal3", True, SYNCED, "a security key whose key cannot leave it"),
        ("aal3", True, ("hwk", "user"), "a second factor beside a key"),
        ("aal3", True, HARDWARE, ""),
        (
            "aal3",
            True,
            PWD,
            "a second factor beside a password, and a security key whose key cannot leave it",
        ),
    ],
)
def test_what_is_missing_is_named(
    acr: str, resistant: bool, amr: tuple[str, ...], lacks: str
) -> None:
    """Empty where nothing is."""
    assert missing_at(acr, amr, phishing_resistant=resistant) == lacks
