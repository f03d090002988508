"""Refresh families: one record for each live session, rotated in one atomic step."""

from .family import (
    Current,
    Elevation,
    Family,
    FamilyStore,
    FamilyUnavailable,
    Gone,
    NewFamily,
    Reason,
    RefreshReuseDetected,
    Repeated,
    Resent,
    RetriedLate,
    RolledBack,
    Rotated,
    RotationOutcome,
    RotationRules,
    Status,
)
from .opening import open_families

__all__ = [
    "Current",
    "Elevation",
    "Family",
    "FamilyStore",
    "FamilyUnavailable",
    "Gone",
    "NewFamily",
    "Reason",
    "RefreshReuseDetected",
    "Repeated",
    "Resent",
    "RetriedLate",
    "RolledBack",
    "Rotated",
    "RotationOutcome",
    "RotationRules",
    "Status",
    "open_families",
]
