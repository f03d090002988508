"""How well a person was authenticated, by the methods that were used (RFC 8176)."""

from __future__ import annotations

from collections.abc import Iterable

from tokens.assurance import LEVELS

ONE_FACTOR, TWO_FACTORS, HARDWARE_KEY = LEVELS

KNOWN = frozenset({"pwd", "pin", "kba"})
HELD = frozenset({"otp", "hwk", "swk", "sc", "sms", "tel"})
INHERENT = frozenset({"face", "fpt", "iris", "retina", "vbm"})
PHISHING_RESISTANT = frozenset({"hwk", "swk", "sc"})
"""Keys that sign for one origin alone (SP 800-63B-4 section 3.2.5)."""
HARDWARE = frozenset({"hwk", "sc"})
"""Keys that cannot be exported (SP 800-63B-4 section 2.3.1)."""


def factors_of(amr: Iterable[str]) -> int:
    """How many kinds of factor were used: something known, held, inherent.

    `mfa` alone counts for nothing: it says that there were several, not which.
    """
    used = frozenset(amr)
    return sum(not used.isdisjoint(kind) for kind in (KNOWN, HELD, INHERENT))


def acr_of(amr: Iterable[str]) -> str:
    """The level that these methods reach, never below the first (SP 800-63B-4 section 2)."""
    used = frozenset(amr)
    if factors_of(used) < 2:
        return ONE_FACTOR
    return TWO_FACTORS if used.isdisjoint(HARDWARE) else HARDWARE_KEY


def resists_phishing(amr: Iterable[str]) -> bool:
    """Whether one of these methods does (SP 800-63B-4 section 3.2.5)."""
    return not PHISHING_RESISTANT.isdisjoint(amr)
