"""Refresh: the six rules of rotation, and what follows from each outcome.

Implements RFC 6749 section 6 and RFC 9700 section 4.14.2.
"""

from __future__ import annotations

import structlog

from tokens import Expired, RefreshClaims, TokenError

from ..accounts import Account
from ..audit.ahead import events_of
from ..audit.event import EventKind, Outcome
from ..crash_points import CrashPoint, reach
from ..errors import OAuthError, invalid_grant
from ..families import (
    Current,
    Family,
    Gone,
    RefreshReuseDetected,
    Repeated,
    Resent,
    RetriedLate,
    RolledBack,
    Rotated,
    RotationOutcome,
)
from ..families import Reason as GoneReason
from ..journal import Reason
from ..limits.errors import TooManyRequests
from ..parties import Client
from ..policies.events import elevation_ended
from ..policies.sufficiency import missing_for
from ..services import Services
from .device import require_same_device
from .grant import NOWHERE, Context, Grant, grant
from .login import require_client

log = structlog.get_logger("gatepass.issuer")

RULES = {
    Rotated: "rotated",
    Repeated: "repeated",
    Resent: "resent",
    RetriedLate: "retried_late",
    RefreshReuseDetected: "reuse",
    RolledBack: "rolled_back",
}
"""How outcomes are counted."""
_GONE_TEXT = {
    GoneReason.UNKNOWN: "the session is not known any more; log in again",
    GoneReason.ENDED: "the session has been ended; log in again",
    GoneReason.IDLE: "the session ended for want of activity; log in again",
    GoneReason.ABSOLUTE: "the session has reached its end; log in again",
    GoneReason.VERSION: "the password or the account has changed; log in again",
}


def refresh(
    services: Services,
    *,
    token: str,
    active_ago: float | None,
    proven_client: str | None = None,
    context: Context = NOWHERE,
    address: str = "",
) -> Grant:
    """The session's current tokens for a refresh token. Raises `OAuthError`, `TooManyRequests`.

    A token that is worth nothing is counted for `address`; empty where nobody knows it.
    """
    try:
        return _refresh(services, token, active_ago, proven_client, context)
    except OAuthError as error:
        if error.error == "invalid_grant":
            services.limits.refreshes.refused(address)
        raise


def _refused(services: Services, why: str, claims: RefreshClaims | None = None) -> None:
    """Count a refusal, and write it down."""
    services.metrics.refresh(why)
    about = {"sub": claims.sub, "sid": claims.sid, "client_id": claims.client_id} if claims else {}
    services.audit.refused(
        services.audit.happened(
            EventKind.REFRESH_REFUSED, outcome=Outcome.FAILURE, why=why, **about
        )
    )


def _refresh(
    services: Services,
    token: str,
    active_ago: float | None,
    proven_client: str | None,
    context: Context,
) -> Grant:
    """The same, uncounted.

    `active_ago`: seconds since the person last did something, by the client's word; without it
    the refresh counts as no activity (SP 800-63B-4: a background refresh is none).
    """
    instant = services.instant()
    try:
        claims = services.open_refresh_token(token)
    except Expired:
        raise _gone(services, GoneReason.ABSOLUTE) from None
    except TokenError as error:
        _refused(services, "invalid")
        log.info("refresh_refused", why=error.code)
        raise invalid_grant("not a refresh token of this issuer") from None
    # Before anything is read: a flood costs little, and changes nothing.
    try:
        services.limits.refreshes.session(claims.sid)
    except TooManyRequests:
        _refused(services, "limited", claims)
        raise
    require_client(services, claims.client_id, proven_client)
    client = services.settings.clients[claims.client_id]
    standing = services.accounts.standing(
        claims.sub, sid=claims.sid, client_id=claims.client_id, audience=client.audience
    )
    account = standing.account
    if standing.session_ended:
        _apply_end_again(services, claims.sub, claims.sid, Reason.LOGOUT)
        raise _gone(services, GoneReason.ENDED, claims)
    if standing.reauthentication_due:
        _refused(services, "reauthentication_due", claims)
        # RFC 6749 section 5.2: to every client it is a grant that is worth nothing any more.
        raise invalid_grant("prove anew who you are: log in again, or elevate")
    if account is None or not account.enabled:
        _refused(services, "disabled", claims)
        raise invalid_grant("the account is disabled or gone")
    if standing.client_disabled:
        _refused(services, "disabled", claims)
        raise OAuthError(400, "unauthorized_client", "the client is disabled")
    if standing.client_watermark >= 0:
        _refuse_older(services, claims, standing.client_watermark)
    if client.judges_sessions:
        _hold_to_policy(services, client, claims, context)
    draft = services.audit.happened(
        EventKind.SESSION_REFRESHED, sub=claims.sub, sid=claims.sid, client_id=claims.client_id
    )
    outcome = services.families.rotate(
        claims.sub,
        claims.sid,
        claims.gen,
        credential_version=account.credential_version,
        active_ago=active_ago,
        draft=services.audit.draft_of(draft),
    )
    reach(CrashPoint.REFRESH_ROTATED)
    if not isinstance(outcome, Gone):
        family = outcome.family
        details = {"gen": family.gen, "presented": claims.gen, "ends": int(family.end)}
        name = RULES[type(outcome)]
        services.audit.drafted(events_of(name, draft, details), draft.id)
    return _answer(services, outcome, account, instant, claims)


def _refuse_older(services: Services, claims: RefreshClaims, watermark: int) -> None:
    """End a session that began before its client was revoked. Raises `OAuthError`."""
    family = services.families.get(claims.sub, claims.sid)
    if family is not None and family.auth_time <= watermark:
        _end(services, family, Reason.CLIENT)
        raise invalid_grant("the client was revoked since the session began; log in again")


def _hold_to_policy(
    services: Services, client: Client, claims: RefreshClaims, context: Context
) -> None:
    """Refuse a session that its client's policy does not allow, before anything rotates.

    One that was begun with less than the policy asks for by now gives nothing; one that goes on on
    another device ends. Raises `OAuthError`.
    """
    family = services.families.get(claims.sub, claims.sid)
    if family is None:
        return  # the rotation says why
    lacks = missing_for(client, family.amr)
    if lacks:
        _refused(services, "policy", claims)
        raise invalid_grant(f"this client asks for {lacks}; log in again")
    require_same_device(services, client, family, context)


def _answer(
    services: Services,
    outcome: RotationOutcome,
    account: Account,
    instant: float,
    claims: RefreshClaims,
) -> Grant:
    match outcome:
        case Current(family):
            services.metrics.refresh(RULES[type(outcome)])
            log.info(
                "session_refreshed",
                sub=family.sub,
                sid=family.sid,
                gen=family.gen,
                outcome=type(outcome).__name__,
            )
            if family.elevation is not None:
                _end_elevation(services, family, account, instant)
            return grant(services, family, account, instant)
        case RefreshReuseDetected(family):
            services.metrics.refresh(RULES[type(outcome)])
            log.warning("refresh_reuse_detected", sub=family.sub, sid=family.sid)
            _end(services, family, Reason.REUSE)
            raise invalid_grant("this refresh token was used before; the session has been ended")
        case RolledBack(family):
            services.metrics.refresh(RULES[type(outcome)])
            log.error("families_went_back", sub=family.sub, sid=family.sid)
            _end(services, family, Reason.ROLLBACK)
            raise invalid_grant("the session's state was lost; log in again")
        case Gone(reason, family):
            if family is not None and reason is GoneReason.ENDED:
                _apply_end_again(services, family.sub, family.sid, Reason.REUSE)
            raise _gone(services, reason, claims)


def _end_elevation(services: Services, family: Family, account: Account, instant: float) -> None:
    """Say once that an elevation is over. What it gave has expired with it."""
    if family.elevated(account.sub_ver, int(instant)) is None and services.families.lower(
        family.sub, family.sid
    ):
        reach(CrashPoint.ELEVATION_ENDED)
        elevation_ended(services, family, account)


def _gone(
    services: Services, reason: GoneReason, claims: RefreshClaims | None = None
) -> OAuthError:
    _refused(services, reason.value, claims)
    return invalid_grant(_GONE_TEXT[reason])


def _end(services: Services, family: Family, reason: Reason) -> None:
    services.revoker.end_session(
        family.sub, family.sid, reason=reason, absolute_end=family.absolute_end
    )


def _apply_end_again(services: Services, sub: str, sid: str, reason: Reason) -> None:
    """Whoever meets an ended session completes its end: the one who began may have died."""
    services.revoker.end_session(sub, sid, reason=reason)
