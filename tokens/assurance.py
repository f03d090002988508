"""Levels of authentication assurance, as `acr` names them (SP 800-63B-4 section 2)."""

from __future__ import annotations

LEVELS = ("aal1", "aal2", "aal3")
"""One factor; two; two, one of them a key that cannot leave its hardware. Lowest first."""


def reaches(acr: str, wanted: str) -> bool:
    """Whether a token's `acr` is enough where `wanted` is asked for: the same, or a higher level.

    What is none of `LEVELS` is compared as it is. A token that says nothing reaches nothing.
    """
    if acr in LEVELS and wanted in LEVELS:
        return LEVELS.index(acr) >= LEVELS.index(wanted)
    return bool(acr) and acr == wanted
