"""Log in: check the password, start a session, and check again before answering."""

from __future__ import annotations

from dataclasses import replace

import structlog

from ..accounts import Account, BadCredentials, normalise_username
from ..audit.ahead import CREATED, events_of
from ..audit.event import Event, EventKind, Outcome
from ..crash_points import CrashPoint, reach
from ..errors import (
    OAuthError,
    factor_refused,
    invalid_client,
    invalid_grant,
    too_weak,
    unavailable,
)
from ..factors import FactorRefused, FactorRequired, GivenFactor
from ..factors.factor import NOTHING
from ..factors.proof import PASSWORD_METHODS, prove_by_name
from ..families import Family, NewFamily, Status
from ..limits.errors import TooManyRequests
from ..policies.sufficiency import missing_for, require_enough
from ..services import Services
from .cap import keep_within_cap
from .grant import Context, Grant, grant, random_id

log = structlog.get_logger("gatepass.issuer")


def login(
    services: Services,
    *,
    username: str,
    password: str,
    client_id: str,
    proven_client: str | None,
    context: Context,
    given: GivenFactor = NOTHING,
    address: str = "",
) -> Grant:
    """A new session for the right password (ASVS 7.2.4: a new one at every login).

    An account with a second factor needs that too: `given`. `proven_client` is the client that has
    authenticated, if one did; `address` is the caller's, for limits and turns at hashing, empty
    where nobody knows it. Raises `OAuthError`, `FactorRequired` and `TooManyRequests`.
    """
    instant = services.instant()
    _require_good_client(services, username, client_id, proven_client)
    try:
        proved = prove_by_name(services, username, password=password, given=given, address=address)
    except TooManyRequests:
        services.metrics.login("limited")
        _refused(services, EventKind.LOGIN_LIMITED, "too_many", username, client_id)
        raise
    except FactorRequired:
        services.metrics.login("factor_required")
        _refused(services, EventKind.LOGIN, FactorRequired.code, username, client_id)
        raise
    except FactorRefused as error:
        services.metrics.login("refused")
        _refused(services, EventKind.LOGIN, FactorRefused.code, username, client_id)
        log.info("login_refused", client_id=client_id, why=str(error))
        raise factor_refused() from None
    except BadCredentials as error:
        services.metrics.login("refused")
        _refused(services, EventKind.LOGIN, error.why, username, client_id)
        log.info("login_refused", client_id=client_id, why=str(error))
        # One answer for every cause (ASVS 6.3.8).
        raise invalid_grant("user name or password is wrong") from None
    lacks = missing_for(services.settings.clients[client_id], proved.amr)
    if lacks:
        services.metrics.login("refused")
        _refused(services, EventKind.LOGIN, "too_weak", username, client_id)
        raise too_weak(f"this client asks for {lacks}")
    # A change that was cut off between SQL and the denylist is finished before anybody logs in.
    services.revoker.complete_subject(proved.account.id)
    started = start_session(
        services,
        proved.account,
        client_id=client_id,
        instant=instant,
        context=context,
        amr=proved.amr,
        why="login",
    )
    services.metrics.login("granted")
    return started


def _refused(
    services: Services, kind: EventKind, why: str, username: str, client_id: str | None
) -> None:
    name = normalise_username(username)

    def with_account(event: Event) -> Event:
        account = services.accounts.by_username(name)
        return event if account is None else replace(event, sub=account.id)

    event = services.audit.happened(
        kind,
        outcome=Outcome.FAILURE,
        why=why,
        client_id=client_id,
        details={"account": services.audit.account(name)},
    )
    services.audit.refused(event, with_account)


def _require_good_client(
    services: Services, username: str, client_id: str, proven_client: str | None
) -> None:
    try:
        require_client(services, client_id, proven_client)
    except OAuthError as error:
        # An id that is nobody's is whatever somebody sent.
        known = client_id if services.clients.get(client_id) is not None else None
        _refused(services, EventKind.CLIENT_REFUSED, error.error, username, known)
        raise
    if services.clients.is_disabled(client_id):
        _refused(services, EventKind.CLIENT_REFUSED, "client_disabled", username, client_id)
        raise OAuthError(400, "unauthorized_client", "the client is disabled")


def require_client(services: Services, client_id: str, proven_client: str | None) -> None:
    """Raise `OAuthError` unless the client is configured and, if confidential, has proved itself.

    RFC 6749 sections 3.2.1 and 6.
    """
    client = services.clients.get(client_id)
    if client is None:
        raise OAuthError(400, "invalid_client", "there is no client of this id")
    if client.secret_sha256 is not None and proven_client != client_id:
        raise invalid_client("this client must authenticate with HTTP Basic")


def start_session(
    services: Services,
    account: Account,
    *,
    client_id: str,
    instant: float,
    context: Context,
    why: str,
    amr: tuple[str, ...] = PASSWORD_METHODS,
    auth_time: int | None = None,
) -> Grant:
    """Make a family for an account that has just proved who it is, and its first tokens.

    `amr` says by what, `auth_time` since when: now, unless an earlier proof counts. The account is
    read again after the family is made: whatever ended the old version in between ends this session
    too. `why` it begins is for the audit log. Raises `OAuthError`.
    """
    client = services.settings.clients[client_id]
    require_enough(client, amr)
    now = int(instant)
    since = now if auth_time is None else auth_time
    new = NewFamily(
        sub=account.id,
        sid=random_id(),
        client_id=client_id,
        credential_version=account.credential_version,
        auth_time=since,
        amr=amr,
        scope=" ".join(client.scopes),
        idle=client.idle or None,
        absolute_end=since + client.absolute,
        label=context.label,
        address=context.address,
        user_agent=context.user_agent,
    )
    started = services.audit.happened(
        EventKind.SESSION_STARTED,
        why=why,
        sub=new.sub,
        sid=new.sid,
        client_id=client_id,
        details={
            "amr": list(new.amr),
            "credential_version": new.credential_version,
            "ends": min(now + (new.idle or client.absolute), new.absolute_end),
            "absolute": new.absolute_end,
        },
    )
    family = services.families.create(new, draft=services.audit.draft_of(started))
    services.audit.drafted(events_of(CREATED, started), started.id)
    reach(CrashPoint.LOGIN_FAMILY_MADE)
    standing = services.accounts.standing(
        account.id, sid=family.sid, client_id=client_id, audience=client.audience
    )
    current = standing.account
    if (
        current is None
        or not current.enabled
        or current.credential_version != account.credential_version
        or standing.client_disabled
    ):
        # Nobody has seen this session: marking its family is all there is to end.
        services.families.mark(account.id, family.sid, Status.ENDED)
        _unseen(services, family, "account_changed")
        raise invalid_grant("the account has just been changed; log in again")
    if now <= standing.client_watermark:
        # Gateways would refuse what it got (the watermark allows for clocks that differ).
        services.families.mark(account.id, family.sid, Status.ENDED)
        _unseen(services, family, "client_revoked")
        raise unavailable(
            "the client was revoked a moment ago; try again",
            retry_after=standing.client_watermark - now + 1,
        )
    keep_within_cap(services, family)
    result = grant(services, family, account, instant)
    log.info("session_started", sub=account.id, sid=family.sid, client_id=client_id)
    return result


def _unseen(services: Services, family: Family, why: str) -> None:
    services.audit.record(
        services.audit.happened(
            EventKind.SESSION_ENDED,
            why=why,
            sub=family.sub,
            sid=family.sid,
            client_id=family.client_id,
        )
    )
