"""Events that are written down first where the change itself is made: beside the session's record.

A login and a refresh change Redis alone. The same Lua call that does so keeps a draft of the event,
so that neither is there without the other; the process takes it into the log within moments, and
drops the draft. Whatever a process left behind, another finds (`Recorder`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..families import Draft
from .chain import ChainKey, ChainKeys
from .event import Event, EventKind, Outcome

CREATED = "created"
DRAFTED = frozenset({EventKind.SESSION_STARTED, EventKind.SESSION_REFRESHED})
"""What drafts are of; every other event comes from a transaction in SQL."""
_KINDS = {
    "rotated": EventKind.SESSION_REFRESHED,
    "repeated": EventKind.SESSION_REFRESHED,
    "resent": EventKind.SESSION_REFRESHED,
    "retried_late": EventKind.SESSION_REFRESHED,
    "reuse": EventKind.REUSE_DETECTED,
    "rolled_back": EventKind.ROLLBACK_DETECTED,
}

_PROVED = {"login": EventKind.LOGIN, "elevation": EventKind.ELEVATED}
"""Why a session began, and what that was."""


def draft_of(event: Event, key: ChainKey) -> Draft:
    """What the store keeps until the event is in the log; whoever writes to Redis can make none."""
    return Draft(event.id, key.sealed(event.to_json()))


def read_draft(text: str, keys: ChainKeys) -> Event:
    """The event of a draft that some issuer left.

    Raises `UnknownSecret`, and `ValueError` for what is none.
    """
    event = Event.from_json(keys.opened(text))
    if event.kind not in DRAFTED:
        raise ValueError("not what drafts are of")
    return event


def events_of(outcome: str, draft: Event, details: Mapping[str, Any] | None = None) -> list[Event]:
    """The events of a draft, once it is known what the store did; none where it changed nothing.

    `details` are those that only the process that made the call knows.
    """
    if details:
        draft = replace(draft, details={**draft.details, **details})
    if outcome == CREATED:
        # A login is what has been proved, and the session what came of it.
        proved = _PROVED.get(draft.why)
        return (
            [draft] if proved is None else [replace(draft, kind=proved, id=f"{draft.id}.1"), draft]
        )
    kind = _KINDS.get(outcome)
    if kind is None:
        return []
    result = Outcome.SUCCESS if kind is EventKind.SESSION_REFRESHED else Outcome.FAILURE
    return [replace(draft, kind=kind, outcome=result, why=outcome)]
