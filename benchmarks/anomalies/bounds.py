"""How far a share that was counted may be from the true one."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, lgamma, log, log1p

TAIL = 0.025
"""On either side: 95 in a hundred lie between the bounds."""


def bounds(found: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's bounds of a share, 95 %."""
    if of == 0:
        return 0.0, 1.0
    # The share at which so many, or more, are as unlikely as TAIL; and so many, or fewer.
    low = 0.0 if found == 0 else _where(lambda share: 1 - _at_most(found - 1, of, share) < TAIL)
    high = 1.0 if found == of else _where(lambda share: _at_most(found, of, share) > TAIL)
    return low, high


def _where(holds: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _at_most(found: int, of: int, share: float) -> float:
    if share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    yes, no = log(share), log1p(-share)
    whole = lgamma(of + 1)
    return sum(
        exp(whole - lgamma(k + 1) - lgamma(of - k + 1) + k * yes + (of - k) * no)
        for k in range(found + 1)
    )
