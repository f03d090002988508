"""Change a password, or reset a forgotten one: every older token ends before the answer.

ASVS 7.4.3 and 7.5.1: the current password is asked for, and every other session ends.
"""

from __future__ import annotations

import structlog

from tokens import AccessClaims

from ..accounts import (
    Account,
    BadCredentials,
    Conflict,
    InvalidReset,
    PasswordRefused,
    normalise_username,
)
from ..accounts.account import Change
from ..audit.event import EventKind, Outcome
from ..errors import OAuthError, invalid_grant, invalid_request, invalid_token
from ..factors import FactorRefused, GivenFactor
from ..factors.factor import NOTHING
from ..factors.proof import PASSWORD_METHODS, prove
from ..journal import Reason
from ..parties import Client
from ..policies.recent import require_recent
from ..policies.sufficiency import require_enough
from ..services import Services
from .device import require_device_of
from .grant import Context, Grant
from .login import start_session

log = structlog.get_logger("gatepass.issuer")

_ATTEMPTS = 10
"""A login's rehash makes a change try again; where issuers' hashing parameters differ, each login
may be one, and three tries were seen to be too few (tests/races)."""


def change_password(
    services: Services,
    *,
    claims: AccessClaims,
    account: Account,
    current_password: str,
    new_password: str,
    context: Context,
    given: GivenFactor = NOTHING,
    reauthentication_due: bool = False,
    address: str = "",
) -> Grant:
    """Set a new password, end every session, and start a new one for the caller.

    `claims` and `account` are the caller's, already verified; a session that was begun without the
    account's second factor, or that has to prove itself anew, needs it now. `address` is what
    limits count by, since whoever has stolen an access token may guess the password here. Raises
    `TooManyRequests`, `FactorRequired`, `FactorRefused`, and `OAuthError`: 409 where another change
    came first.
    """
    instant = services.instant()
    client = services.settings.clients[claims.client_id]
    require_recent(client, claims, instant)
    require_device_of(services, claims, context)
    counts = () if reauthentication_due else claims.amr
    change, amr = _change(
        services, client, account, current_password, new_password, counts, given, address
    )
    # What was proved at the login counts on, and since when.
    kept = not given and amr == counts != PASSWORD_METHODS
    # No clock takes part: the entry says "least version", so that a login a millisecond later
    # lives and one a millisecond earlier dies.
    services.revoker.complete_id(change.journal_id)
    log.info("password_changed", sub=account.id)
    return start_session(
        services,
        change.account,
        client_id=claims.client_id,
        instant=instant,
        context=context,
        amr=amr,
        auth_time=claims.auth_time if kept else None,
        why="password_change",
    )


def _change(
    services: Services,
    client: Client,
    account: Account,
    current_password: str,
    new_password: str,
    amr: tuple[str, ...],
    given: GivenFactor,
    address: str,
) -> tuple[Change, tuple[str, ...]]:
    """The change, and by what the caller has proved who they are."""
    version = account.credential_version
    for _ in range(_ATTEMPTS):
        try:
            amr = prove(
                services,
                account,
                password=current_password,
                given=given,
                address=address,
                session_amr=amr,
            )
        except FactorRefused:
            raise
        except BadCredentials:
            services.audit.refused(
                services.audit.happened(
                    EventKind.PASSWORD_REFUSED,
                    outcome=Outcome.FAILURE,
                    why="wrong_password",
                    sub=account.id,
                )
            )
            raise invalid_grant("the current password is wrong") from None
        require_enough(client, amr)
        # It is spent; another try goes by what it has proved.
        given = NOTHING
        try:
            change = services.accounts.change_password(
                account,
                new_password,
                expires=services.revoker.entry_expiry(),
                reason=str(Reason.PASSWORD_CHANGE),
                source=address,
            )
        except PasswordRefused as error:
            raise invalid_request(str(error)) from None
        except Conflict:
            # A rehash by a login alters the row but not the credential; that is worth another try.
            reread = services.accounts.by_id(account.id)
            if reread is None or not reread.enabled:
                raise invalid_token("the account is disabled or gone") from None
            if reread.credential_version != version:
                break
            account = reread
        else:
            return change, amr
    raise OAuthError(409, "conflict", "the account was changed at the same time; log in again")


def reset_password(services: Services, *, token: str, new_password: str, address: str = "") -> None:
    """Spend a reset token, set a password and end every session. Raises `OAuthError`.

    From `address`, the caller's, the owner may log in, whatever was guessed before.
    """
    try:
        change = services.accounts.reset_password(
            token, new_password, expires=services.revoker.entry_expiry(), source=address
        )
    except InvalidReset:
        services.audit.refused(
            services.audit.happened(
                EventKind.PASSWORD_REFUSED, outcome=Outcome.FAILURE, why="reset_token"
            )
        )
        raise invalid_grant("the reset token is not valid any more; ask for a new one") from None
    except PasswordRefused as error:
        raise invalid_request(str(error)) from None
    services.revoker.complete_id(change.journal_id)
    services.limits.passwords.proved(normalise_username(change.account.username), address)
    log.info("password_reset", sub=change.account.id)
