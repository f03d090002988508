"""What a policy rules, and what is looser than it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from tokens.assurance import LEVELS

_UNITS = ((86_400, "day", "days"), (3600, "hour", "hours"), (60, "minute", "minutes"))
_ENDLESS = 1 << 53


@dataclass(frozen=True, slots=True)
class Rule:
    """A value, and the clause that it follows. Durations in seconds."""

    value: Any
    clause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A preset: how loose a client's sessions may be at the most."""

    name: str
    idle: Rule
    """A session's end without a person's activity; 0: no such end."""
    absolute: Rule
    """Its end in any case, counted from the login."""
    access_lifetime: Rule
    """An access token's, at the most."""
    acr: Rule
    """The level that a login has to reach (`tokens.assurance`)."""
    phishing_resistant: Rule
    """Whether one of the factors has to withstand phishing."""
    reauthenticate: Rule
    """How old a login may be for a change of sensitive data; 0: however old."""
    elevation: Rule
    """How long an elevation lasts."""
    sessions: Rule
    """One account's live sessions at this client; 0: as many as `limits.sessions` allows."""
    binding: Rule
    """What of the device has to stay as it was at the login, or the session ends."""
    password_min_length: Rule

    def rule(self, name: str) -> Rule:
        """One of `RULES`."""
        found: Rule = getattr(self, name)
        return found


RULES = tuple(field.name for field in fields(Policy) if field.name != "name")
"""Their names: those of a client's settings, but for `password_min_length`, the issuer's own."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How a rule's values are compared and worded."""

    looser: Callable[[Any, Any], bool]
    """Whether the first allows what the second does not."""
    told: Callable[[Any], str]
    remedy: Callable[[Any], str]
    """What a setting must be to keep to the value."""


def duration(seconds: int) -> str:
    """In the largest unit that it is a whole number of."""
    for size, one, many in _UNITS:
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {one if count == 1 else many}"
    return f"{seconds} seconds"


def _or_endless(value: int) -> int:
    return value or _ENDLESS


_TIME = Kind(lambda value, limit: value > limit, duration, lambda limit: f"give {limit} or less")
_TIME_OR_NONE = Kind(
    lambda value, limit: _or_endless(value) > _or_endless(limit),
    lambda value: duration(value) if value else "none",
    lambda limit: f"give {limit} or less, and not 0",
)
_COUNT_OR_ANY = Kind(
    _TIME_OR_NONE.looser, lambda value: str(value) if value else "any number", _TIME_OR_NONE.remedy
)
_LENGTH = Kind(lambda value, limit: value < limit, str, lambda limit: f"give {limit} or more")
_LEVEL = Kind(
    lambda value, limit: LEVELS.index(value) < LEVELS.index(limit),
    str,
    lambda limit: f'give "{limit}"' if limit == LEVELS[-1] else f'give "{limit}" or a higher level',
)
_SWITCH = Kind(
    lambda value, limit: limit and not value,
    lambda value: "yes" if value else "no",
    lambda _limit: "give true",
)
_PARTS = Kind(
    lambda value, limit: not set(limit) <= set(value),
    lambda value: " and ".join(part.replace("_", " ") for part in value) or "none",
    lambda limit: "name " + " and ".join(f'"{part}"' for part in limit) + " in it",
)

KINDS: dict[str, Kind] = {
    "idle": _TIME_OR_NONE,
    "absolute": _TIME,
    "access_lifetime": _TIME,
    "acr": _LEVEL,
    "phishing_resistant": _SWITCH,
    "reauthenticate": _TIME_OR_NONE,
    "elevation": _TIME,
    "sessions": _COUNT_OR_ANY,
    "binding": _PARTS,
    "password_min_length": _LENGTH,
}
"""Of each of `RULES`."""


def breach(policy: Policy, name: str, value: Any) -> str | None:
    """Why a value breaks a rule, and what to do; None where it keeps to it."""
    rule, kind = policy.rule(name), KINDS[name]
    if not kind.looser(value, rule.value):
        return None
    return (
        f"{kind.told(value)} is looser than {kind.told(rule.value)}, which policy {policy.name}"
        f" takes from {rule.clause}: {kind.remedy(rule.value)}, or say why not:"
        f' deviates = {{{name} = "the reason"}}'
    )
