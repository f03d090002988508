"""Events that come with somebody's transaction: there if it is committed, gone if it is not."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ..database.tables import audit_outbox
from .event import Event, EventKind
from .origin import current_origin

_PEND = sa.insert(audit_outbox)


def happened(kind: EventKind, now: float, **fields: Any) -> Event:
    """An event of this moment, which came from where this request or command does."""
    origin = current_origin()
    fields.setdefault("address", origin.address)
    fields.setdefault("user_agent", origin.user_agent)
    fields.setdefault("request_id", origin.request_id)
    fields.setdefault("actor", origin.actor)
    return Event(kind=kind, time=now, **fields)


def pend(connection: sa.Connection, event: Event) -> None:
    """Write an event down within the caller's transaction; the log has it within moments."""
    connection.execute(_PEND, {"event": event.to_json()})
