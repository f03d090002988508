"""A session stays on the device on which it began, as far as its client's policy says."""

from __future__ import annotations

import structlog

from tokens import AccessClaims

from ..errors import invalid_grant
from ..families import Family
from ..journal import Reason
from ..policies.binding import Device, changed
from ..policies.settings import ClientRules
from ..services import Services
from .grant import Context

log = structlog.get_logger("gatepass.issuer")


def require_same_device(
    services: Services, rules: ClientRules, family: Family, context: Context
) -> None:
    """End a session that goes on elsewhere. Raises `OAuthError`."""
    part = changed(
        rules.binding,
        Device(family.address, family.user_agent),
        Device(context.address, context.user_agent),
    )
    if part is None:
        return
    services.metrics.refresh("device")
    log.warning("session_moved", sub=family.sub, sid=family.sid, changed=part)
    services.revoker.end_session(
        family.sub, family.sid, reason=Reason.DEVICE, absolute_end=family.absolute_end
    )
    raise invalid_grant("the session was begun on another device and has been ended; log in again")


def require_device_of(services: Services, claims: AccessClaims, context: Context) -> None:
    """The same for whoever has an access token and would get a session of his own for it."""
    rules = services.settings.clients[claims.client_id]
    family = services.families.get(claims.sub, claims.sid) if rules.binding else None
    if family is not None:
        require_same_device(services, rules, family, context)
