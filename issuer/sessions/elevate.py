"""Step up: prove more, or once more, and get a session that has more for a short time.

ASVS 7.5.3 and RFC 9470. The session is a new one (ASVS 7.2.4), and the one that it replaces ends
before the answer. Afterwards it is what that one was, with the same absolute end: nobody is logged
out, and nobody stays logged in for longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import structlog

from revocation import Kind
from tokens.assurance import reaches

from ..accounts import Account, BadCredentials
from ..audit import EventKind
from ..audit.ahead import CREATED, events_of
from ..crash_points import CrashPoint, reach
from ..errors import OAuthError, factor_refused, invalid_grant, invalid_token, too_weak
from ..factors import FactorRefused, GivenFactor
from ..factors.factor import NOTHING
from ..factors.proof import prove
from ..families import Elevation, Family, NewFamily, Status
from ..journal import Reason
from ..parties import Client
from ..policies import events
from ..policies.assurance import acr_of
from ..policies.sufficiency import missing_at, require_enough
from ..services import Services
from .bearer import Caller
from .cap import keep_within_cap
from .device import require_same_device
from .grant import Context, Grant, grant, random_id

log = structlog.get_logger("gatepass.issuer")


def elevate(
    services: Services,
    caller: Caller,
    *,
    password: str,
    given: GivenFactor = NOTHING,
    scopes: Sequence[str] = (),
    acr: str = "",
    context: Context,
    address: str = "",
) -> Grant:
    """A new session in the place of the caller's, elevated for the client's `elevation` seconds.

    `scopes` are wanted beside the ordinary ones, out of the client's `elevated_scopes`; `acr` is
    the level that is wanted. `address` is what limits count by. Raises `TooManyRequests`,
    `FactorRequired`, and `OAuthError`: 403 where what was proved is not enough.
    """
    instant = services.instant()
    claims = caller.claims
    client = services.settings.clients[claims.client_id]
    old = services.families.get(claims.sub, claims.sid)
    if (
        old is None
        or old.status is not Status.LIVE
        or old.end <= instant
        or old.credential_version != caller.account.credential_version
    ):
        raise invalid_token("the session has ended; log in again")
    require_same_device(services, client, old, context)
    scope = _scope(client, old, scopes)
    amr = _proved(services, caller.account, old, password, given, address)
    _require_level(client, amr, acr, old, services)
    now = int(instant)
    raised = NewFamily(
        sub=old.sub,
        sid=random_id(),
        client_id=old.client_id,
        credential_version=old.credential_version,
        # The session as it was, and as it will be again.
        auth_time=old.auth_time,
        amr=old.amr,
        scope=old.scope,
        idle=old.idle,
        absolute_end=old.absolute_end,
        label=context.label or old.label,
        address=context.address,
        user_agent=context.user_agent,
        elevation=Elevation(
            until=now + client.elevation,
            auth_time=now,
            amr=amr,
            scope=scope,
            sub_ver=caller.account.sub_ver,
        ),
    )
    ends = min(now + (old.idle or client.absolute), old.absolute_end)
    started = events.elevated_session(services, raised, old.sid, ends)
    new = services.families.create(raised, draft=services.audit.draft_of(started))
    services.audit.drafted(events_of(CREATED, started), started.id)
    reach(CrashPoint.ELEVATION_FAMILY_MADE)
    account = _still_good(services, client, old, new)
    services.revoker.end_session(
        old.sub, old.sid, reason=Reason.ELEVATED, absolute_end=old.absolute_end
    )
    _require_replaced(services, old, new)
    keep_within_cap(services, new)
    # From the account as it was read after `instant`: what was taken from it since is not given.
    result = grant(services, new, account, instant)
    log.info("elevated", sub=new.sub, sid=new.sid, replaced=old.sid)
    return result


def _scope(client: Client, old: Family, wanted: Sequence[str]) -> str:
    """The session's scopes and those that are wanted, too.

    Raises `OAuthError` 400 (RFC 6749 section 5.2).
    """
    ordinary = old.scope.split()
    further = [scope for scope in dict.fromkeys(wanted) if scope not in ordinary]
    if not set(further) <= set(client.elevated_scopes):
        raise OAuthError(400, "invalid_scope", "an elevation at this client has no such scope")
    return " ".join([*ordinary, *further])


def _proved(
    services: Services,
    account: Account,
    old: Family,
    password: str,
    given: GivenFactor,
    address: str,
) -> tuple[str, ...]:
    """What was proved now. Raises `FactorRequired`, `TooManyRequests`, `OAuthError`."""
    try:
        return prove(services, account, password=password, given=given, address=address)
    except FactorRefused:
        raise factor_refused() from None
    except BadCredentials:
        events.elevation_refused(services, old, EventKind.PASSWORD_REFUSED, "elevation")
        raise invalid_grant("the current password is wrong") from None


def _require_level(
    client: Client, amr: tuple[str, ...], wanted: str, old: Family, services: Services
) -> None:
    """What was proved is enough for the client, and reaches what is wanted."""
    try:
        require_enough(client, amr)
        if wanted and not reaches(acr_of(amr), wanted):
            raise too_weak(f"{wanted} asks for {missing_at(wanted, amr)}")
    except OAuthError:
        events.elevation_refused(services, old, EventKind.ELEVATED, "too_weak")
        raise


def _still_good(services: Services, client: Client, old: Family, new: Family) -> Account:
    """The account, read after the family was made. Raises `OAuthError`.

    Whatever ended the old session meanwhile ends the new one, of which nobody knows yet.
    """
    standing = services.accounts.standing(
        old.sub, sid=old.sid, client_id=old.client_id, audience=client.audience
    )
    account = standing.account
    if (
        account is None
        or not account.enabled
        or account.credential_version != old.credential_version
        or standing.session_ended
        or standing.client_disabled
        or old.auth_time <= standing.client_watermark
    ):
        _unmake(services, new)
    return account


def _require_replaced(services: Services, old: Family, new: Family) -> None:
    """End the new session too, where somebody else ended the old one while it was replaced."""
    reasons = {row.reason for row in services.journal.find(Kind.SESSION, old.sid)}
    if reasons - {str(Reason.ELEVATED)}:
        _unmake(services, new)


def _unmake(services: Services, new: Family) -> NoReturn:
    """End a session that nobody has seen: marking its family is all there is to end."""
    services.families.mark(new.sub, new.sid, Status.ENDED)
    events.unseen(services, new)
    raise invalid_token("the session has ended; log in again")
