"""Accounts in SQL."""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from revocation import Entry

from ..audit.event import EventKind
from ..audit.outbox import happened, pend
from ..crash_points import CrashPoint, reach
from ..database.engine import reading, writing
from ..database.tables import accounts, disabled_clients, password_resets, reauthentications
from ..journal import CLIENT_WATERMARK, SESSION_ENDED, Reason, append_row
from .account import (
    Account,
    BadCredentials,
    Change,
    Conflict,
    HashingBusy,
    InvalidReset,
    Standing,
    UnknownAccount,
    UsernameRefused,
    UsernameTaken,
)
from .passwords import PasswordHasher, PasswordPolicy

LONGEST_USERNAME = 320
"""Characters after normalising, which can lengthen a name; the column's width."""
RESET_LIFETIME = 900
"""Seconds for which a reset token may be used (OWASP Forgot Password Cheat Sheet: short-lived)."""


# Built once: building a statement takes longer than running it.
_BY_ID = sa.select(accounts).where(accounts.c.id == sa.bindparam("given"))
_BY_ID_LOCKED = _BY_ID.with_for_update()  # SQLite's writers take turns from BEGIN on
_BY_USERNAME = sa.select(accounts).where(accounts.c.username == sa.bindparam("given"))
_STANDING = sa.select(
    accounts,
    SESSION_ENDED.label("session_ended"),
    CLIENT_WATERMARK.label("client_watermark"),
    sa.exists()
    .where(disabled_clients.c.client_id == sa.bindparam("client_id"))
    .label("client_disabled"),
    sa.exists().where(reauthentications.c.sid == sa.bindparam("sid")).label("reauthentication_due"),
).where(accounts.c.id == sa.bindparam("sub"))


def normalise_username(username: str) -> str:
    """NFKC and case-folded, so that look-alike spellings are one account."""
    return unicodedata.normalize("NFKC", username).casefold().strip()


def _digest(token: str) -> str:
    # The token has 256 random bits, so a plain digest cannot be guessed back.
    return hashlib.sha256(token.encode()).hexdigest()


class SqlAccounts:
    """Implements `Accounts` on SQLite and PostgreSQL."""

    def __init__(
        self,
        engine: sa.Engine,
        hasher: PasswordHasher,
        policy: PasswordPolicy,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._hasher = hasher
        self._policy = policy
        self._clock = clock

    # Reading

    def by_username(self, username: str) -> Account | None:
        with reading(self._engine) as connection:
            return _one(connection, _BY_USERNAME, normalise_username(username))

    def by_id(self, sub: str) -> Account | None:
        with reading(self._engine) as connection:
            return _one(connection, _BY_ID, sub)

    def standing(self, sub: str, *, sid: str, client_id: str, audience: str) -> Standing:
        given = {"sub": sub, "sid": sid, "client_id": client_id, "audience": audience}
        with reading(self._engine) as connection:
            row = connection.execute(_STANDING, given).one_or_none()
        if row is None:
            return Standing(None, session_ended=False, client_disabled=False, client_watermark=-1)
        return Standing(
            _account(row),
            bool(row.session_ended),
            bool(row.client_disabled),
            -1 if row.client_watermark is None else row.client_watermark,
            bool(row.reauthentication_due),
        )

    # Passwords

    def authenticate(self, username: str, password: str, source: str = "") -> Account:
        account = self.by_username(username)
        if account is None:
            self._hasher.verify_nobody(password, source)
            raise BadCredentials("no such account", "unknown_account")
        self.verify(account, password, source)
        if not account.enabled:
            raise BadCredentials("the account is disabled", "account_disabled")
        if self._hasher.needs_rehash(account.password_hash):
            return self._rehash(account, password)
        return account

    def verify(self, account: Account, password: str, source: str = "") -> None:
        self._hasher.verify(account.password_hash, password, source)

    def _rehash(self, read: Account, password: str) -> Account:
        """Store the password under the present parameters; dropped if the row has changed.

        Raises no version: the credential is the same.
        """
        try:
            new_hash = self._hasher.hash(password)
        except HashingBusy:
            return read  # no reason to refuse a right password: the next login does it
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(accounts).where(_unchanged(read)).values(password_hash=new_hash)
            )
        reach(CrashPoint.ACCOUNT_WRITTEN)
        # What was read stays what the login goes by: its version check comes after.
        return read

    def change_password(
        self, read: Account, new_password: str, *, expires: int, reason: str, source: str = ""
    ) -> Change:
        new_hash = self._hash_new(new_password, read.username, source)
        with writing(self._engine) as connection:
            change = self._write_credential(
                connection, _unchanged(read), read.id, {"password_hash": new_hash}, expires, reason
            )
            self._pend(connection, EventKind.PASSWORD_CHANGED, read.id, why=reason)
            return change

    def _hash_new(self, password: str, username: str, source: str) -> str:
        """The hash of a new password. Raises `PasswordRefused`, `HashingBusy`."""
        with self._hasher.turn(source):  # judging it takes as long as hashing it
            self._policy.check(password, username)
        return self._hasher.hash(password, source)

    def _write_credential(
        self,
        connection: sa.Connection,
        where: sa.ColumnElement[bool],
        sub: str,
        values: dict[str, Any],
        expires: int,
        reason: str,
    ) -> Change:
        """Write `values`, raise both versions and journal it, all or nothing."""
        changed = connection.execute(
            sa.update(accounts)
            .where(where)
            .values(
                credential_version=accounts.c.credential_version + 1,
                sub_ver=accounts.c.sub_ver + 1,
                **values,
            )
        )
        if not changed.rowcount:
            raise Conflict("the account was changed by somebody else in the meantime")
        return self._journal(connection, sub, expires, reason, ends_sessions=True)

    def _pend(self, connection: sa.Connection, kind: EventKind, sub: str, **fields: Any) -> None:
        """Tell the audit log, with the change itself."""
        pend(connection, happened(kind, self._clock(), sub=sub, **fields))

    def _journal(
        self,
        connection: sa.Connection,
        sub: str,
        expires: int,
        reason: str,
        *,
        ends_sessions: bool = False,
    ) -> Change:
        account = _one(connection, _BY_ID, sub)
        if account is None:
            raise UnknownAccount(sub)
        row_id = append_row(
            connection,
            Entry.subject(sub, account.sub_ver, expires),
            reason=reason,
            now=self._clock(),
            ends_below=account.credential_version if ends_sessions else None,
        )
        return Change(account, row_id)

    # Resets

    def request_reset(self, username: str) -> tuple[Account, str] | None:
        """Make a single-use reset token; None for a name that nobody may reset.

        An earlier token of the account stops working.
        """
        account = self.by_username(username)
        if account is None or not account.enabled:
            return None
        token = secrets.token_urlsafe(32)
        now = int(self._clock())
        with writing(self._engine) as connection:
            connection.execute(
                sa.delete(password_resets).where(
                    sa.or_(
                        password_resets.c.account_id == account.id,
                        password_resets.c.expires <= now,
                    )
                )
            )
            connection.execute(
                sa.insert(password_resets).values(
                    digest=_digest(token),
                    account_id=account.id,
                    credential_version=account.credential_version,
                    expires=now + RESET_LIFETIME,
                )
            )
            self._pend(connection, EventKind.PASSWORD_RESET_SENT, account.id)
        reach(CrashPoint.RESET_MADE)
        return account, token

    def reset_password(
        self, token: str, new_password: str, *, expires: int, source: str = ""
    ) -> Change:
        """Spend a reset token and set a password, in one transaction.

        Raises `InvalidReset`, `PasswordRefused`, `HashingBusy`. A refused password leaves the token
        usable.
        """
        digest = _digest(token)
        with reading(self._engine) as connection:
            account = self._reset_target(connection, digest)
        new_hash = self._hash_new(new_password, account.username, source)
        with writing(self._engine) as connection:
            spent = connection.execute(
                sa.delete(password_resets).where(password_resets.c.digest == digest)
            )
            if not spent.rowcount:
                raise InvalidReset("the reset token was used in the meantime")
            try:
                change = self._write_credential(
                    connection,
                    _unchanged(account),
                    account.id,
                    {"password_hash": new_hash},
                    expires,
                    Reason.PASSWORD_RESET,
                )
            except Conflict:
                raise InvalidReset("the account has changed since") from None
            self._pend(connection, EventKind.PASSWORD_RESET, account.id)
            return change

    def _reset_target(self, connection: sa.Connection, digest: str) -> Account:
        row = connection.execute(
            sa.select(password_resets).where(password_resets.c.digest == digest)
        ).one_or_none()
        if row is None or row.expires <= self._clock():
            raise InvalidReset("the reset token is unknown, used or expired")
        account = _one(connection, _BY_ID, row.account_id)
        # A password changed by other means since is not to be overwritten by an old mail.
        if (
            account is None
            or not account.enabled
            or account.credential_version != row.credential_version
        ):
            raise InvalidReset("the account has changed since")
        return account

    # Administration

    def add(self, username: str, password: str, roles: tuple[str, ...] = ()) -> Account:
        """Make an account. Raises `UsernameTaken`, `UsernameRefused`, `PasswordRefused`."""
        name = normalise_username(username)
        if not 0 < len(name) <= LONGEST_USERNAME:
            raise UsernameRefused(f"a name has 1 to {LONGEST_USERNAME} characters")
        password_hash = self._hash_new(password, name, "")
        sub = secrets.token_urlsafe(16)
        try:
            with writing(self._engine) as connection:
                connection.execute(
                    sa.insert(accounts).values(
                        id=sub,
                        username=name,
                        password_hash=password_hash,
                        credential_version=1,
                        sub_ver=1,
                        enabled=True,
                        roles=list(roles),
                        created=int(self._clock()),
                    )
                )
                self._pend(connection, EventKind.ACCOUNT_ADDED, sub, details={"roles": list(roles)})
        except IntegrityError:
            raise UsernameTaken(name) from None
        return Account(sub, name, password_hash, 1, 1, enabled=True, roles=roles)

    def everyone(self) -> list[Account]:
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(accounts).order_by(accounts.c.username))
            return [_account(row) for row in rows]

    def raise_versions(self, sub: str, *, expires: int, reason: str) -> Change:
        with writing(self._engine) as connection:
            return self.raise_versions_in(connection, sub, expires=expires, reason=reason)

    def raise_versions_in(
        self, connection: sa.Connection, sub: str, *, expires: int, reason: str
    ) -> Change:
        """As `raise_versions`, within the caller's transaction."""
        try:
            return self._write_credential(
                connection, accounts.c.id == sub, sub, {}, expires, reason
            )
        except Conflict:
            raise UnknownAccount(sub) from None

    def hold_in(self, connection: sa.Connection, account: Account) -> None:
        """Keep an account as it was read until the caller's transaction ends.

        Raises `Conflict` where it has another credential by now, or is disabled or gone.
        """
        found = _one(connection, _BY_ID_LOCKED, account.id)
        if (
            found is None
            or not found.enabled
            or found.credential_version != account.credential_version
        ):
            raise Conflict("the account was changed by somebody else in the meantime")

    def set_enabled(self, sub: str, enabled: bool, *, expires: int) -> Change | None:  # noqa: FBT001
        with writing(self._engine) as connection:
            account = _one(connection, _BY_ID, sub)
            if account is None:
                raise UnknownAccount(sub)
            if enabled:
                connection.execute(
                    sa.update(accounts).where(accounts.c.id == sub).values(enabled=True)
                )
                self._pend(connection, EventKind.ACCOUNT_ENABLED, sub)
                change = None
            else:
                # Also where it is disabled already: a retry must be able to finish the push.
                change = self._write_credential(
                    connection,
                    accounts.c.id == sub,
                    sub,
                    {"enabled": False},
                    expires,
                    Reason.DISABLED,
                )
                self._pend(connection, EventKind.ACCOUNT_DISABLED, sub)
        if change is None:
            reach(CrashPoint.ACCOUNT_WRITTEN)
        return change

    def set_roles(self, sub: str, roles: tuple[str, ...], *, expires: int) -> Change | None:
        with writing(self._engine) as connection:
            # Locked, so that a role given by a transaction that is under way counts as lost too.
            account = _one(connection, _BY_ID_LOCKED, sub)
            if account is None:
                raise UnknownAccount(sub)
            lost = set(account.roles) - set(roles)
            connection.execute(
                sa.update(accounts)
                .where(accounts.c.id == sub)
                .values(roles=list(roles), sub_ver=accounts.c.sub_ver + (1 if lost else 0))
            )
            change = self._journal(connection, sub, expires, Reason.ROLES) if lost else None
            details = {"from": list(account.roles), "to": list(roles)}
            self._pend(connection, EventKind.ROLES_CHANGED, sub, details=details)
        if change is None:
            reach(CrashPoint.ACCOUNT_WRITTEN)
        return change


def _unchanged(read: Account) -> sa.ColumnElement[bool]:
    return sa.and_(
        accounts.c.id == read.id,
        accounts.c.credential_version == read.credential_version,
        accounts.c.password_hash == read.password_hash,
        accounts.c.enabled,
    )


def _one(connection: sa.Connection, query: sa.Select[Any], given: str) -> Account | None:
    row = connection.execute(query, {"given": given}).one_or_none()
    return None if row is None else _account(row)


def _account(row: Any) -> Account:
    return Account(
        id=row.id,
        username=row.username,
        password_hash=row.password_hash,
        credential_version=row.credential_version,
        sub_ver=row.sub_ver,
        enabled=bool(row.enabled),
        roles=tuple(row.roles),
    )
