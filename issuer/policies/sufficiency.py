"""Whether a login was good enough for a client, and in words what it lacks."""

from __future__ import annotations

from collections.abc import Iterable

from tokens.assurance import reaches

from ..errors import too_weak
from .assurance import HARDWARE, HARDWARE_KEY, acr_of, factors_of, resists_phishing
from .settings import ClientRules

_METHODS = {"pwd": "a password", "otp": "a one-time code", "hwk": "a key", "swk": "a passkey"}


def missing_for(rules: ClientRules, amr: Iterable[str]) -> str:
    """What these methods lack for a client's rules; empty where they are enough."""
    return missing_at(rules.acr, amr, phishing_resistant=rules.phishing_resistant)


def missing_at(acr: str, amr: Iterable[str], *, phishing_resistant: bool = False) -> str:
    """The same for a level of assurance."""
    used = tuple(amr)
    lacks = []
    if not reaches(acr_of(used), acr) and factors_of(used) < 2:
        named = " and ".join(text for name, text in _METHODS.items() if name in used)
        lacks.append(f"a second factor beside {named or 'what there was'}")
    if acr == HARDWARE_KEY and HARDWARE.isdisjoint(used):
        lacks.append("a security key whose key cannot leave it")
    elif phishing_resistant and not resists_phishing(used):
        lacks.append("a passkey or security key")
    return ", and ".join(lacks)


def require_enough(rules: ClientRules, amr: Iterable[str]) -> None:
    """Raise `OAuthError` 403, which names what is missing, where a login is not enough."""
    lacks = missing_for(rules, amr)
    if lacks:
        raise too_weak(f"this client asks for {lacks}")
