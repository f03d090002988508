"""What happens to elevations, as the audit log takes it down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from ..audit import Event, EventKind, Outcome, current_origin
from .assurance import acr_of

if TYPE_CHECKING:
    from ..accounts import Account
    from ..families import Family
    from ..services import Services

log = structlog.get_logger("gatepass.issuer")


def began(services: Services, family: Family, replaced: str) -> None:
    """An elevated session took the place of another, whose sid is `replaced`."""
    elevation = family.elevation
    if elevation is not None:
        acr = acr_of(elevation.amr)
        details: dict[str, Any] = {"acr": acr, "scope": elevation.scope, "until": elevation.until}
        _note(_event(services, EventKind.ELEVATED, family, replaced=replaced, **details))


def ended(services: Services, family: Family, account: Account) -> None:
    """An elevation is over: its time, or by a change of what the person may do."""
    elevation = family.elevation
    lowered = elevation is not None and elevation.sub_ver != account.sub_ver
    why = "rights_changed" if lowered else "time"
    _note(_event(services, EventKind.ELEVATION_ENDED, family, why=why))


def refused(services: Services, family: Family, kind: EventKind, why: str) -> None:
    """What was given for an elevation was wrong, or not enough."""
    _note(_event(services, kind, family, why=why, outcome=Outcome.FAILURE))


def _event(
    services: Services,
    kind: EventKind,
    family: Family,
    *,
    outcome: Outcome = Outcome.SUCCESS,
    why: str = "",
    **details: Any,
) -> Event:
    origin = current_origin()
    return Event(
        kind=kind,
        time=services.clock(),
        outcome=outcome,
        why=why,
        sub=family.sub,
        sid=family.sid,
        client_id=family.client_id,
        address=origin.address,
        user_agent=origin.user_agent,
        request_id=origin.request_id,
        actor=origin.actor,
        details=details,
    )


def _note(event: Event) -> None:
    """Log an event of elevations."""
    log.info(str(event.kind), sub=event.sub, sid=event.sid, why=event.why, **event.details)
