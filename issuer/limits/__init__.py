"""Limits on guessing and on floods, with counts that all issuers share (docs/limits.md)."""

from .errors import LimitsUnavailable, TooManyRequests
from .guard import Guard
from .opening import Limits, open_limits
from .refreshes import RefreshGuard
from .storage import SharedStorage
from .windows import Counter, Windows, parse_windows

__all__ = [
    "Counter",
    "Guard",
    "Limits",
    "LimitsUnavailable",
    "RefreshGuard",
    "SharedStorage",
    "TooManyRequests",
    "Windows",
    "open_limits",
    "parse_windows",
]
