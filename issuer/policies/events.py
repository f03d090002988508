"""What happens to elevations, as the audit log takes it down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..audit import Event, EventKind, Outcome
from .assurance import acr_of

if TYPE_CHECKING:
    from ..accounts import Account
    from ..families import Family, NewFamily
    from ..services import Services


def elevated_session(services: Services, new: NewFamily, replaced: str, ends: int) -> Event:
    """An elevated session takes the place of another, whose sid is `replaced`.

    `ends` is its idle or its absolute end, whichever is first.
    """
    raised = new.elevation
    told = (
        {}
        if raised is None
        else {"acr": acr_of(raised.amr), "scope": raised.scope, "until": raised.until}
    )
    return services.audit.happened(
        EventKind.SESSION_STARTED,
        why="elevation",
        sub=new.sub,
        sid=new.sid,
        client_id=new.client_id,
        details={
            **told,
            "amr": list(new.amr if raised is None else raised.amr),
            "replaced": replaced,
            "credential_version": new.credential_version,
            "ends": ends,
            "absolute": new.absolute_end,
        },
    )


def elevation_ended(services: Services, family: Family, account: Account) -> None:
    """An elevation is over: by its time, or by a change of what the person may do."""
    raised = family.elevation
    lowered = raised is not None and raised.sub_ver != account.sub_ver
    services.audit.record(
        _event(services, EventKind.ELEVATION_ENDED, family, "rights_changed" if lowered else "time")
    )


def unseen(services: Services, family: Family) -> None:
    """An elevated session that nobody has seen ends with the one that it was to replace."""
    services.audit.record(_event(services, EventKind.SESSION_ENDED, family, "replaced_had_ended"))


def elevation_refused(services: Services, family: Family, kind: EventKind, why: str) -> None:
    """What was given for an elevation was wrong, or not enough."""
    services.audit.refused(_event(services, kind, family, why, Outcome.FAILURE))


def _event(
    services: Services,
    kind: EventKind,
    family: Family,
    why: str,
    outcome: Outcome = Outcome.SUCCESS,
) -> Event:
    return services.audit.happened(
        kind,
        outcome=outcome,
        why=why,
        sub=family.sub,
        sid=family.sid,
        client_id=family.client_id,
    )
