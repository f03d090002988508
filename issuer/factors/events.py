"""Events of factors, as the audit log takes them down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from ..audit import Event, EventKind, Outcome, current_origin

if TYPE_CHECKING:
    from ..services import Services

log = structlog.get_logger("gatepass.issuer")


def factor_event(
    services: Services,
    kind: EventKind,
    sub: str,
    *,
    outcome: Outcome = Outcome.SUCCESS,
    why: str = "",
    sid: str | None = None,
    client_id: str | None = None,
    **details: Any,
) -> Event:
    """What happened to an account's factors now, and where it came from."""
    origin = current_origin()
    return Event(
        kind=kind,
        time=services.clock(),
        outcome=outcome,
        why=why,
        sub=sub,
        sid=sid,
        client_id=client_id,
        address=origin.address,
        user_agent=origin.user_agent,
        request_id=origin.request_id,
        actor=origin.actor,
        details=details,
    )


def note(event: Event) -> None:
    """Log an event of factors."""
    log.info(str(event.kind), sub=event.sub, why=event.why, **event.details)
