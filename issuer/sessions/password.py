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
from ..errors import OAuthError, invalid_grant, invalid_request, invalid_token
from ..factors.proof import PASSWORD_METHODS
from ..journal import Reason
from ..policies.recent import require_recent
from ..policies.sufficiency import require_enough
from ..services import Services
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
    address: str = "",
) -> Grant:
    """Set a new password, end every session, and start a new one for the caller.

    `claims` and `account` are the caller's, already verified; `address` is what limits count by,
    since whoever has stolen an access token may guess the password here. Raises `TooManyRequests`,
    and `OAuthError`: 409 where another change came first.
    """
    instant = services.clock()
    client = services.settings.clients[claims.client_id]
    require_recent(client, claims, instant)
    # What was proved at the login counts on, and since when: the password alone proves no more.
    family = services.families.get(claims.sub, claims.sid)
    amr = PASSWORD_METHODS if family is None else family.amr
    require_enough(client, amr)
    change = _change(services, account, current_password, new_password, address)
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
        auth_time=None if family is None or amr == PASSWORD_METHODS else family.auth_time,
    )


def _change(
    services: Services,
    account: Account,
    current_password: str,
    new_password: str,
    address: str,
) -> Change:
    version = account.credential_version
    name = normalise_username(account.username)
    for _ in range(_ATTEMPTS):
        try:
            with services.limits.passwords.attempt(name, address):
                services.accounts.verify(account, current_password, address)
        except BadCredentials:
            raise invalid_grant("the current password is wrong") from None
        try:
            return services.accounts.change_password(
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
        raise invalid_grant("the reset token is not valid any more; ask for a new one") from None
    except PasswordRefused as error:
        raise invalid_request(str(error)) from None
    services.revoker.complete_id(change.journal_id)
    services.limits.passwords.proved(normalise_username(change.account.username), address)
    log.info("password_reset", sub=change.account.id)
