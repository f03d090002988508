"""Enrol, confirm and remove factors: changes for which a person proves anew who they are.

ASVS 7.5.1 (re-authentication before a change of factors), 7.4.3 (other sessions end with it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ..accounts import Account, BadCredentials, Conflict
from ..audit import Event, EventKind, Outcome
from ..audit.outbox import pend
from ..crash_points import CrashPoint, reach
from ..database.engine import writing
from ..errors import OAuthError, insufficient_authentication, invalid_grant
from ..journal import Reason
from ..services import Services
from ..sessions.bearer import Caller
from ..sessions.device import require_device_of
from ..sessions.grant import Context, Grant
from ..sessions.login import start_session
from . import recovery, sql_factors
from .factor import MOST_FACTORS, Factor, GivenFactor
from .factors import Enrolment
from .passkeys import RelyingParty
from .proof import PASSWORD_METHODS, prove


@dataclass(frozen=True, slots=True)
class Proof:
    """By what somebody has proved who they are, and since when."""

    amr: tuple[str, ...]
    auth_time: int


@dataclass(frozen=True, slots=True)
class Wish:
    """How a change is to end: with every other session ended, and a new one for the caller."""

    end_other_sessions: bool
    context: Context


def reauthenticate(
    services: Services,
    who: Caller,
    *,
    password: str | None,
    given: GivenFactor,
    address: str = "",
) -> Proof:
    """The password and, where there is one, a factor; or a login so fresh that it stands for them.

    ASVS 7.5.1. A fresh login counts for an account with a factor only if it used one. Raises
    `OAuthError`: 401 where more is to be proved (RFC 9470); and as `prove`.
    """
    _require_undoubted(who)
    # Before a factor is spent: the change mints tokens.
    now = int(services.instant())
    if password is not None:
        try:
            amr = prove(services, who.account, password=password, given=given, address=address)
        except BadCredentials as error:
            if type(error) is not BadCredentials:
                raise
            services.audit.refused(
                services.audit.happened(
                    EventKind.PASSWORD_REFUSED,
                    outcome=Outcome.FAILURE,
                    why=error.why,
                    sub=who.account.id,
                )
            )
            raise invalid_grant("the current password is wrong") from None
        return Proof(amr, now)
    fresh = services.settings.factors.fresh
    # As a change of the password, where the client is stricter.
    fresh = min(fresh, services.settings.clients[who.claims.client_id].reauthenticate or fresh)
    if now - who.claims.auth_time < fresh and (
        "mfa" in who.claims.amr or not services.factors.of(who.account.id)
    ):
        return Proof(who.claims.amr, who.claims.auth_time)
    raise insufficient_authentication(
        "give current_password and a second factor if there is one, or log in again", max_age=fresh
    )


def begin_totp(services: Services, who: Caller, proof: Proof, label: str) -> tuple[str, str, str]:
    """As `Factors.begin_totp`. Raises `OAuthError` 409 at the most factors."""
    _require_room(services, who.account)
    return services.factors.begin_totp(_enrolment(who, proof), label)


def confirm_totp(
    services: Services, who: Caller, enrolment_id: str, code: str, wish: Wish
) -> tuple[Factor, Grant | None]:
    """Enrol an authenticator app by its first right code.

    The proof that began the enrolment, in the same session, counts. Raises `OAuthError`: 404 where
    none waits, 409 at the most factors; `FactorRefused`.
    """
    instant = services.instant()
    found = services.factors.confirmed_totp(who.account.id, who.claims.sid, enrolment_id, code)
    if found is None:
        raise OAuthError(404, "not_found", "no such enrolment waits; begin again")
    factor, auth_time = found
    _require_room(services, who.account)

    def write(connection: sa.Connection) -> None:
        purpose = sql_factors.Purpose.ENROL_TOTP
        if not sql_factors.spend(
            connection, enrolment_id, factor.account_id, purpose, int(instant)
        ):
            raise OAuthError(404, "not_found", "no such enrolment waits; begin again")
        sql_factors.add(connection, factor)

    proof = Proof((*PASSWORD_METHODS, *factor.methods), auth_time)
    return factor, _change(
        services,
        who,
        proof,
        wish,
        instant,
        write,
        _event(services, who, EventKind.FACTOR_ADDED, factor),
    )


def begin_passkey(services: Services, who: Caller, proof: Proof) -> dict[str, Any]:
    """What a browser makes a passkey from. Raises `OAuthError`."""
    relying_party = _relying_party(services)
    _require_room(services, who.account)
    return services.factors.begin_passkey(_enrolment(who, proof), relying_party)


def register_passkey(
    services: Services, who: Caller, credential: Mapping[str, Any], label: str, wish: Wish
) -> tuple[Factor, Grant | None]:
    """Enrol a passkey by what the browser made. Raises `OAuthError`, `FactorRefused`.

    The proof that began it counts, as with `confirm_totp`.
    """
    instant = services.instant()
    relying_party = _relying_party(services)
    _require_room(services, who.account)
    factor, auth_time = services.factors.registered_passkey(
        who.account.id, who.claims.sid, credential, relying_party, label
    )

    def write(connection: sa.Connection) -> None:
        sql_factors.add(connection, factor)

    proof = Proof((*PASSWORD_METHODS, *factor.methods), auth_time)
    try:
        granted = _change(
            services,
            who,
            proof,
            wish,
            instant,
            write,
            _event(services, who, EventKind.FACTOR_ADDED, factor),
        )
    except IntegrityError:
        raise OAuthError(409, "conflict", "this passkey is enrolled already") from None
    return factor, granted


def remove(
    services: Services, who: Caller, proof: Proof, factor_id: str, wish: Wish
) -> Grant | None:
    """Remove one of one's own factors. Raises `OAuthError` 404 if it is not theirs.

    With the last one go the recovery codes, and the new session is one of a password alone.
    """
    instant = services.instant()
    held = {factor.id: factor for factor in services.factors.of(who.account.id)}
    removed = held.pop(factor_id, None)
    if removed is None:
        raise _no_factor()

    def write(connection: sa.Connection) -> None:
        if not sql_factors.remove(connection, who.account.id, factor_id):
            raise _no_factor()

    event = _event(services, who, EventKind.FACTOR_REMOVED, removed)
    left = proof if held else Proof(PASSWORD_METHODS, proof.auth_time)
    return _change(services, who, left, wish, instant, write, event)


def renew_codes(
    services: Services, who: Caller, proof: Proof, wish: Wish
) -> tuple[list[str], Grant | None]:
    """Make new recovery codes in the place of any there were; told this once.

    Raises `OAuthError` 409 where there is no factor that they could stand in for.
    """
    instant = services.instant()
    codes = recovery.new_codes()
    digests = [recovery.digest(who.account.id, code) for code in codes]

    def write(connection: sa.Connection) -> None:
        if not sql_factors.count(connection, who.account.id):
            raise OAuthError(409, "conflict", "add a factor first")
        sql_factors.replace_codes(connection, who.account.id, digests)

    event = _event(services, who, EventKind.FACTOR_ADDED)
    return codes, _change(services, who, proof, wish, instant, write, event)


def reset(services: Services, account: Account) -> Sequence[Factor]:
    """Take all of an account's factors away and end its sessions: an operator's way.

    Whoever has lost every factor enrols again after a login by password alone. Returns what is
    gone.
    """
    held = services.factors.of(account.id)
    with writing(services.engine) as connection:
        sql_factors.remove_all(connection, account.id)
        pend(
            connection,
            services.audit.happened(
                EventKind.FACTOR_REMOVED,
                why="reset",
                sub=account.id,
                details={"factor": "all", "count": len(held)},
            ),
        )
        change = services.accounts.raise_versions_in(
            connection,
            account.id,
            expires=services.revoker.entry_expiry(),
            reason=str(Reason.OPERATOR),
        )
    services.revoker.complete_id(change.journal_id)
    return held


def _change(
    services: Services,
    who: Caller,
    proof: Proof,
    wish: Wish,
    instant: float,
    write: Callable[[sa.Connection], None],
    event: Event,
) -> Grant | None:
    """Write factors and, if so wished, end every session in the same transaction.

    A login that is under way with the factors of before then meets a newer version. The caller's
    new session counts from its proof, so that no row of changes keeps a login fresh. Raises
    `OAuthError` 409 where another change of the account came first.
    """
    _require_undoubted(who)
    require_device_of(services, who.claims, wish.context)
    account = who.account
    change = None
    with writing(services.engine) as connection:
        try:
            # First: a session that was ended since it was verified changes nothing any more.
            services.accounts.hold_in(connection, account)
        except Conflict:
            raise OAuthError(
                409, "conflict", "the account was changed at the same time; log in again"
            ) from None
        write(connection)
        pend(connection, event)
        if wish.end_other_sessions:
            change = services.accounts.raise_versions_in(
                connection,
                account.id,
                expires=services.revoker.entry_expiry(),
                reason=str(Reason.FACTOR_CHANGE),
            )
    if change is None:
        reach(CrashPoint.FACTOR_WRITTEN)
        return None
    services.revoker.complete_id(change.journal_id)
    return start_session(
        services,
        change.account,
        client_id=who.claims.client_id,
        instant=instant,
        context=wish.context,
        amr=proof.amr,
        auth_time=proof.auth_time,
        why="factor_change",
    )


def _require_undoubted(who: Caller) -> None:
    """A session that has to prove itself anew adds no factor, nor gets another session by one.

    Raises `OAuthError` 401 (RFC 9470): `/elevate` and a login are how it does.
    """
    if who.reauthentication_due:
        raise insufficient_authentication("prove anew who you are: log in again, or elevate")


def _event(services: Services, who: Caller, kind: EventKind, factor: Factor | None = None) -> Event:
    """Of a person's own change; without a factor it is about the recovery codes."""
    details = {"factor": "recovery_codes"}
    if factor is not None:
        details = {"factor": factor.kind.value, "id": factor.id}
    return services.audit.happened(
        kind,
        sub=who.account.id,
        sid=who.claims.sid,
        client_id=who.claims.client_id,
        details=details,
    )


def _enrolment(who: Caller, proof: Proof) -> Enrolment:
    return Enrolment(who.account.id, who.account.username, who.claims.sid, proof.auth_time)


def _relying_party(services: Services) -> RelyingParty:
    relying_party = services.factors.relying_party
    if relying_party is None:
        raise OAuthError(
            404, "not_found", "passkeys need a domain, and this issuer has only an address"
        )
    return relying_party


def _require_room(services: Services, account: Account) -> None:
    if len(services.factors.of(account.id)) >= MOST_FACTORS:
        raise OAuthError(409, "conflict", "there are as many factors as there may be; remove one")


def _no_factor() -> OAuthError:
    return OAuthError(404, "not_found", "there is no such factor")
