"""What the console writes into the audit log."""

from __future__ import annotations

from typing import Any

import structlog

from ..audit import Event, EventKind, Outcome, current_origin
from ..services import Services

log = structlog.get_logger("gatepass.issuer")


def record(
    services: Services, kind: EventKind, outcome: Outcome = Outcome.SUCCESS, **fields: Any
) -> None:
    """Record an event of the present request; `fields` are those of `Event`."""
    origin = current_origin()
    event = Event(
        kind=kind,
        outcome=outcome,
        time=services.clock(),
        address=origin.address,
        user_agent=origin.user_agent,
        request_id=origin.request_id,
        actor=origin.actor,
        **fields,
    )
    log.info("console_event", kind=event.kind.value, outcome=event.outcome.value, why=event.why)
