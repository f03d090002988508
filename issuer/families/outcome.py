"""From the name of a rotation's outcome, as both stores report it, to its type."""

from __future__ import annotations

from collections.abc import Callable

from .family import (
    Family,
    Gone,
    Reason,
    RefreshReuseDetected,
    Repeated,
    Resent,
    RetriedLate,
    RolledBack,
    Rotated,
    RotationOutcome,
)

_WITH_FAMILY: dict[str, Callable[[Family], RotationOutcome]] = {
    "rotated": Rotated,
    "repeated": Repeated,
    "resent": Resent,
    "retried_late": RetriedLate,
    "reuse": RefreshReuseDetected,
    "rolled_back": RolledBack,
}


def outcome_of(name: str, family: Family | None) -> RotationOutcome:
    """The outcome of this name. Raises `ValueError` for a name that is none."""
    if family is not None and name in _WITH_FAMILY:
        return _WITH_FAMILY[name](family)
    return Gone(Reason(name), family)
