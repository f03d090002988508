"""Spreads in time what many processes would do in one moment."""

from __future__ import annotations

import secrets

_STEPS = 1000


def jittered(seconds: float, share: float = 0.5) -> float:
    """The time, give or take up to a share of it.

    By the system's random numbers: those of `random` are the same in all processes that were
    forked from one.
    """
    return seconds * (1 + share * (2 * secrets.randbelow(_STEPS + 1) / _STEPS - 1))
