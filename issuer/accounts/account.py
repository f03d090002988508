"""The account and what every directory of accounts promises."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol


class AccountError(Exception):
    """The root of this package's errors; `code` is stable."""

    code: ClassVar[str] = "account_error"


class BadCredentials(AccountError):
    """Unknown name, wrong password or disabled account; the caller is never told which."""

    code = "bad_credentials"

    def __init__(self, text: str, why: str = "wrong_password") -> None:
        """`why` is the same in one stable word, for the audit log."""
        super().__init__(text)
        self.why = why


class UnknownAccount(AccountError):
    """No account of that name or id."""

    code = "unknown_account"


class UsernameRefused(AccountError):
    """A name that is empty or too long."""

    code = "username_refused"


class UsernameTaken(AccountError):
    """Another account has the name."""

    code = "username_taken"


class Conflict(AccountError):
    """The account changed between reading and writing; nothing was written."""

    code = "conflict"


class HashingBusy(AccountError):
    """Too many passwords are being hashed at once; `retry_after` seconds say when to try again."""

    code = "hashing_busy"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidReset(AccountError):
    """A reset token that is unknown, used, expired or overtaken by another change."""

    code = "invalid_reset"


@dataclass(frozen=True, slots=True)
class Account:
    """One row, read at once: hash, versions and `enabled` belong together."""

    id: str
    username: str
    password_hash: str = field(repr=False)
    credential_version: int
    """Rises with password change, reset, disabling, log out everywhere; ends refreshes."""
    sub_ver: int
    """Rises with all of those and with role reduction; ends access tokens."""
    enabled: bool
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a session may go on, from one query."""

    account: Account | None
    session_ended: bool
    client_disabled: bool
    client_watermark: int
    """What the client, or its audience, was given until this second is revoked; -1: nothing."""
    reauthentication_due: bool = False
    """Whether the session's person must prove anew who it is, in a session of its own."""


@dataclass(frozen=True, slots=True)
class Change:
    """An account after its versions rose, and the journal row that must be pushed."""

    account: Account
    journal_id: int


class Accounts(Protocol):
    """A directory of accounts.

    Every write is conditional on the row that was read and raises `Conflict` where it changed.
    What ends access writes its journal row in the same transaction, and returns it to be pushed.
    What hashes takes turns over the networks of `source`, the client's address, and raises
    `HashingBusy` under load.
    All raise `DatabaseUnavailable` where the store does not answer.
    """

    def authenticate(self, username: str, password: str, source: str = "") -> Account:
        """The enabled account of this name and password.

        Takes the same time for a name that nobody has. Raises `BadCredentials`.
        """

    def verify(self, account: Account, password: str, source: str = "") -> None:
        """Check a password against the row that was read. Raises `BadCredentials`."""

    def standing(self, sub: str, *, sid: str, client_id: str, audience: str) -> Standing:
        """Account, session and client in one query, for a refresh or a request."""

    def change_password(
        self, read: Account, new_password: str, *, expires: int, reason: str, source: str = ""
    ) -> Change:
        """Set a password and raise both versions. Raises `Conflict`, `PasswordRefused`.

        `expires` (seconds) is the denylist entry's.
        """

    def raise_versions(self, sub: str, *, expires: int, reason: str) -> Change:
        """End every session of a person. Raises `UnknownAccount`."""

    def set_enabled(self, sub: str, enabled: bool, *, expires: int) -> Change | None:  # noqa: FBT001
        """Enable, or disable and end every session. None where nothing needs pushing."""

    def set_roles(self, sub: str, roles: tuple[str, ...], *, expires: int) -> Change | None:
        """Set roles; a lost one takes effect at once without ending sessions."""
