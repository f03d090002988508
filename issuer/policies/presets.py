"""The presets. Where a clause names no number, its text says so, and the number is ours."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from .assurance import HARDWARE_KEY, ONE_FACTOR, TWO_FACTORS
from .policy import Policy, Rule

MINUTE, HOUR, DAY = 60, 3600, 86_400

_BEARER = "RFC 6750 section 5.3 (an hour or less)"
_SHORT_BEARER = "RFC 6750 section 5.3 (an hour or less; the number is ours)"
_FACTOR_CHANGE = "OWASP ASVS 7.5.1, which names no number"
_ELEVATION = "OWASP ASVS 7.5.3, which names no number"
_SESSIONS = "OWASP ASVS 7.1.2, which names no number"
_BINDING = "OWASP session cheat sheet, binding to other user properties"
_WORKING_DAY = "OWASP session cheat sheet, absolute timeout (4 to 8 hours)"
_ALONE = "SP 800-63B-4 section 3.1.1.2 (15 characters where it is the only factor)"
_BESIDE = "SP 800-63B-4 section 3.1.1.2 (8 characters beside a second factor)"
_NO_PHISHING = "not asked for"


def _policy(name: str, **rules: tuple[Any, str]) -> Policy:
    return Policy(name=name, **{rule: Rule(*given) for rule, given in rules.items()})


_ALL = (
    _policy(
        "aal1",
        idle=(0, "SP 800-63B-4 section 2.1.3 (not required)"),
        absolute=(30 * DAY, "SP 800-63B-4 section 2.1.3 (30 days)"),
        access_lifetime=(HOUR, _BEARER),
        acr=(ONE_FACTOR, "SP 800-63B-4 section 2.1.1"),
        phishing_resistant=(False, _NO_PHISHING),
        reauthenticate=(HOUR, _FACTOR_CHANGE),
        elevation=(15 * MINUTE, _ELEVATION),
        sessions=(0, _SESSIONS),
        binding=((), _BINDING),
        password_min_length=(15, _ALONE),
    ),
    _policy(
        "aal2",
        idle=(HOUR, "SP 800-63B-4 section 2.2.3 (1 hour)"),
        absolute=(DAY, "SP 800-63B-4 section 2.2.3 (24 hours)"),
        access_lifetime=(15 * MINUTE, _SHORT_BEARER),
        acr=(TWO_FACTORS, "SP 800-63B-4 section 2.2.1"),
        phishing_resistant=(False, "SP 800-63B-4 section 2.2.2 (offered, not required)"),
        reauthenticate=(15 * MINUTE, _FACTOR_CHANGE),
        elevation=(10 * MINUTE, _ELEVATION),
        sessions=(20, _SESSIONS),
        binding=(("user_agent",), _BINDING),
        password_min_length=(8, _BESIDE),
    ),
    _policy(
        "aal3",
        idle=(15 * MINUTE, "SP 800-63B-4 section 2.3.3 (15 minutes)"),
        absolute=(12 * HOUR, "SP 800-63B-4 section 2.3.3 (12 hours)"),
        access_lifetime=(5 * MINUTE, _SHORT_BEARER),
        acr=(HARDWARE_KEY, "SP 800-63B-4 section 2.3.1"),
        phishing_resistant=(True, "SP 800-63B-4 section 2.3.2"),
        reauthenticate=(5 * MINUTE, _FACTOR_CHANGE),
        elevation=(5 * MINUTE, _ELEVATION),
        sessions=(5, _SESSIONS),
        binding=(("user_agent",), _BINDING),
        password_min_length=(8, _BESIDE),
    ),
    _policy(
        "banking",
        idle=(5 * MINUTE, "Regulation (EU) 2018/389 article 4(3)(d) (5 minutes)"),
        absolute=(4 * HOUR, _WORKING_DAY),
        access_lifetime=(5 * MINUTE, _SHORT_BEARER),
        acr=(TWO_FACTORS, "Regulation (EU) 2018/389 article 4(1) (two elements)"),
        phishing_resistant=(False, _NO_PHISHING),
        reauthenticate=(5 * MINUTE, _FACTOR_CHANGE),
        elevation=(2 * MINUTE, _ELEVATION),
        sessions=(3, _SESSIONS),
        binding=(("user_agent",), _BINDING),
        password_min_length=(8, _BESIDE),
    ),
    _policy(
        "pci-dss",
        idle=(15 * MINUTE, "PCI DSS 4.0.1 requirement 8.2.8 (15 minutes)"),
        absolute=(8 * HOUR, _WORKING_DAY),
        access_lifetime=(5 * MINUTE, _SHORT_BEARER),
        acr=(TWO_FACTORS, "PCI DSS 4.0.1 requirement 8.4.2 (more than one factor)"),
        phishing_resistant=(False, _NO_PHISHING),
        reauthenticate=(15 * MINUTE, "PCI DSS 4.0.1 requirement 8.3.3, which names no number"),
        elevation=(5 * MINUTE, _ELEVATION),
        sessions=(5, _SESSIONS),
        binding=(("user_agent",), _BINDING),
        password_min_length=(12, "PCI DSS 4.0.1 requirement 8.3.6 (12 characters)"),
    ),
    _policy(
        "hipaa",
        idle=(15 * MINUTE, "45 CFR 164.312(a)(2)(iii), automatic logoff, which names no number"),
        absolute=(8 * HOUR, _WORKING_DAY),
        access_lifetime=(5 * MINUTE, _SHORT_BEARER),
        acr=(TWO_FACTORS, "45 CFR 164.312(d), person authentication, which names no number"),
        phishing_resistant=(False, _NO_PHISHING),
        reauthenticate=(15 * MINUTE, _FACTOR_CHANGE),
        elevation=(5 * MINUTE, _ELEVATION),
        sessions=(10, _SESSIONS),
        binding=(("user_agent",), _BINDING),
        password_min_length=(8, _BESIDE),
    ),
    _policy(
        "social",
        idle=(14 * DAY, "SP 800-63B-4 section 2.1.3 (not required; the number is ours)"),
        absolute=(30 * DAY, "SP 800-63B-4 section 2.1.3 (30 days)"),
        access_lifetime=(HOUR, _BEARER),
        acr=(ONE_FACTOR, "SP 800-63B-4 section 2.1.1"),
        phishing_resistant=(False, _NO_PHISHING),
        reauthenticate=(HOUR, _FACTOR_CHANGE),
        elevation=(15 * MINUTE, _ELEVATION),
        sessions=(50, _SESSIONS),
        binding=((), _BINDING),
        password_min_length=(15, _ALONE),
    ),
)

PRESETS = MappingProxyType({policy.name: policy for policy in _ALL})
"""By name."""
