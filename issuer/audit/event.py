"""What is written down of what happened: one event for each thing that a person or operator did."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Self


class EventKind(StrEnum):
    """Every kind of event (ASVS 16.3.1 to 16.3.3); the text is what is stored and searched for."""

    LOGIN = "login"
    """A password, or a further factor, was checked for a login."""
    LOGIN_LIMITED = "login_limited"
    """Attempts were turned away unread: there had been too many."""
    LIMIT_LIFTED = "limit_lifted"
    """An administrator let an account, or an address, be tried again at once."""
    CLIENT_REFUSED = "client_refused"
    """A relying party or gateway did not prove who it is, or may not log anybody in."""
    SESSION_STARTED = "session_started"
    SESSION_REFRESHED = "session_refreshed"
    REFRESH_REFUSED = "refresh_refused"
    REUSE_DETECTED = "reuse_detected"
    """A spent refresh token came again; its session ends."""
    ROLLBACK_DETECTED = "rollback_detected"
    """A session's record came back from the past; it ends."""
    SESSION_ENDED = "session_ended"
    SESSION_EXPIRED = "session_expired"
    REVOKED = "revoked"
    """A token, key, client or person's older tokens went on the denylist."""
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - the name of an event
    PASSWORD_REFUSED = "password_refused"  # noqa: S105 - the name of an event
    """The current password, asked for before a change or an elevation, or the token of a reset, was
    wrong."""
    PASSWORD_RESET_SENT = "password_reset_sent"  # noqa: S105 - the name of an event
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of an event
    FACTOR_ADDED = "factor_added"
    FACTOR_REMOVED = "factor_removed"
    FACTOR_REFUSED = "factor_refused"
    ACCOUNT_ADDED = "account_added"
    ACCOUNT_DISABLED = "account_disabled"
    ACCOUNT_ENABLED = "account_enabled"
    ROLES_CHANGED = "roles_changed"
    ELEVATED = "elevated"
    ELEVATION_ENDED = "elevation_ended"
    KEY_CHANGED = "key_changed"
    CLIENT_DISABLED = "client_disabled"
    CLIENT_ENABLED = "client_enabled"
    OPERATED = "operated"
    """An operator's command that leaves no event of another kind; `why` names it."""
    ANOMALY = "anomaly"
    AUDIT_READ = "audit_read"
    """Somebody searched or exported the audit log."""
    PERSON_EXPORTED = "person_exported"
    PERSON_ERASED = "person_erased"
    REDACTED = "redacted"
    """Events were taken out of the audit log: their time was over, or a person's were erased."""


class Outcome(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"


def event_id() -> str:
    """128 random bits, base64url."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. Holds no password, token, secret or hash of one.

    `details` holds what only some kinds have, as JSON can hold it.
    """

    kind: EventKind
    time: float
    """Seconds since the epoch, by the clock of the issuer that saw it."""
    outcome: Outcome = Outcome.SUCCESS
    why: str = ""
    """The reason in one stable word (`wrong_password`, `logout`, `idle`), where there is one."""
    sub: str | None = None
    """The account that it is about."""
    sid: str | None = None
    client_id: str | None = None
    address: str = ""
    """Where the request came from; empty where nobody knows."""
    user_agent: str = ""
    request_id: str = ""
    actor: str = ""
    """Who did it, if it was not the person: `issuer`, `cli:root`, `console:<sub>`."""
    details: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=event_id)

    def to_json(self) -> str:
        """All of it, as `from_json` takes it."""
        # Not by way of `asdict`, which copies deeply: every refresh waits for this.
        members = {name: getattr(self, name) for name in _NAMES}
        return json.dumps(members, separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises `ValueError` for what is no event of this release's.

        Whoever can write to the database or to Redis can have written it, and what passes here
        goes into columns.
        """
        try:
            members = json.loads(text)
            members["kind"] = EventKind(members["kind"])
            members["outcome"] = Outcome(members["outcome"])
            event = cls(**members)
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError("not an event") from error
        if not event._is_well_formed():
            raise ValueError("not what an event holds")
        return event

    def whole(self) -> Self:
        """The same without halves of characters, which nobody could write as UTF-8."""
        text = self.to_json()
        if "\\ud" not in text:
            return self
        return self.from_json(_ESCAPED.sub(lambda found: r"\ufffd" if found[1] else found[0], text))

    def _is_well_formed(self) -> bool:
        return (
            all(isinstance(getattr(self, name), held) for name, held in _HELD.items())
            and 0 <= self.time <= LATEST
            and 0 < len(self.id) <= _LONGEST_ID
            and self.id.isascii()
            and self.id.isprintable()
            and _is_shallow(self.details, _DEEPEST)
        )


def _is_shallow(value: object, levels: int) -> bool:
    """Whether writing it takes no more than some levels of recursion."""
    match value:
        case dict():
            return levels > 0 and all(_is_shallow(each, levels - 1) for each in value.values())
        case list():
            return levels > 0 and all(_is_shallow(each, levels - 1) for each in value)
    return True


# An escaped backslash, a character of two halves, or a half alone.
_ESCAPED = re.compile(r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(\\ud[89a-f][0-9a-f]{2})")
LATEST = 253402300799
"""The last second of the year 9999, beyond which no time can be written."""
_LONGEST_ID = 48
_DEEPEST = 8
_NAMES = tuple(each.name for each in fields(Event))
_HELD: dict[str, Any] = {
    "time": int | float,
    "details": dict,
    **dict.fromkeys(("id", "why", "address", "user_agent", "request_id", "actor"), str),
    **dict.fromkeys(("sub", "sid", "client_id"), str | None),
}
