"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    """It works, and will not always."""
    FAIL = "fail"
    """Something is lost, unsafe or about to stop."""
    UNKNOWN = "unknown"
    """It could not be looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. Holds no secret, and no address with one in it."""

    check: str
    """Its stable name."""
    state: State
    what: str
    why: str = ""
    """What comes of it; empty where all is well."""
    todo: str = ""


def ok(check: str, what: str) -> Finding:
    """All is well."""
    return Finding(check, State.OK, what)


def warn(check: str, what: str, why: str, todo: str) -> Finding:
    return Finding(check, State.WARN, what, why, todo)


def fail(check: str, what: str, why: str, todo: str) -> Finding:
    return Finding(check, State.FAIL, what, why, todo)


def unknown(check: str, what: str, why: str, todo: str) -> Finding:
    return Finding(check, State.UNKNOWN, what, why, todo)
