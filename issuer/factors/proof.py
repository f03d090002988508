"""A password and a second factor, checked together: for a login, an elevation, the console.

The only way by which either is checked. Both are within one attempt of the limits on guessing (ASVS
6.3.1; SP 800-63B-4 section 3.2.2): a wrong code counts as a wrong password does, and a right
password without its code makes up for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..accounts import Account, normalise_username
from ..audit import EventKind, Outcome
from ..limits.errors import TooManyRequests
from .factor import NOTHING, FactorRefused, FactorRequired, GivenFactor

if TYPE_CHECKING:
    from ..services import Services

PASSWORD_METHODS = ("pwd",)
"""`amr` of a password alone (RFC 8176 section 2)."""


@dataclass(frozen=True, slots=True)
class Proved:
    """Who it is, and by what: `amr` as it goes into a session."""

    account: Account
    amr: tuple[str, ...]


def prove_by_name(
    services: Services,
    username: str,
    *,
    password: str,
    given: GivenFactor = NOTHING,
    address: str = "",
) -> Proved:
    """The enabled account of this name, password and, where it has one, factor.

    `address` is what limits count by, empty where nobody knows it. Raises `BadCredentials`,
    `FactorRefused` (a kind of it), `FactorRequired`, `TooManyRequests`, `HashingBusy`.
    """
    # The name as accounts compare it: no other spelling has counts of its own.
    with services.limits.passwords.attempt(normalise_username(username), address):
        account = services.accounts.authenticate(username, password, address)
        return Proved(account, _methods(services, account, given))


def prove(
    services: Services,
    account: Account,
    *,
    password: str,
    given: GivenFactor = NOTHING,
    address: str = "",
    session_amr: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """The same for an account that has been read already: `amr` of what was proved.

    A session that was begun with a factor, as `session_amr` says, needs none again where that is
    enough. Raises as `prove_by_name`.
    """
    with (
        _told_of_limits(services, account),
        services.limits.passwords.attempt(normalise_username(account.username), address),
    ):
        services.accounts.verify(account, password, address)
        if "mfa" in session_amr and not given and services.factors.of(account.id):
            return session_amr
        try:
            return _methods(services, account, given)
        except FactorRequired:
            # A login says so itself. Whoever has a stolen token and finds the password out by it
            # must not be the only one who knows.
            _refused(services, account, FactorRequired.code)
            raise


@contextmanager
def _told_of_limits(services: Services, account: Account) -> Iterator[None]:
    try:
        yield
    except TooManyRequests:
        # As at a login: its owner is told, too.
        _refused(services, account, "too_many", EventKind.LOGIN_LIMITED)
        raise


def _methods(services: Services, account: Account, given: GivenFactor) -> tuple[str, ...]:
    try:
        return (*PASSWORD_METHODS, *services.factors.check(account.id, given))
    except FactorRefused as refused:
        _refused(services, account, refused.why)
        raise


def _refused(
    services: Services, account: Account, why: str, kind: EventKind = EventKind.FACTOR_REFUSED
) -> None:
    services.audit.refused(
        services.audit.happened(kind, outcome=Outcome.FAILURE, why=why, sub=account.id)
    )
