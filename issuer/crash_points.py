"""Named places between two steps of a change, where a process may die and nothing be lost.

A step is one effect on a store. In production these places do nothing. Tests kill or stop real
processes at each of them, and fail where two steps have no such place between them, or a place is
never reached (tests/crashes).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class CrashPoint(StrEnum):
    """Every place, named for the step that has just been taken."""

    ACCOUNT_WRITTEN = "account.written"
    """An account's row is written, and there is nothing to revoke."""
    CLIENT_ENABLED = "client.enabled"
    RESET_MADE = "reset.made"
    """A reset token is stored; it has not been sent."""
    FACTOR_BEGUN = "factor.begun"
    """What will be answered is stored: an enrolment, or the challenge of an assertion."""
    FACTOR_ANSWERED = "factor.answered"
    """A passkey's challenge is spent; its answer has not been looked at."""
    FACTOR_PROVED = "factor.proved"
    """A code or a passkey's count is noted as used, or a wrong code counted; nobody is let in."""
    FACTOR_WRITTEN = "factor.written"
    """An account's factors are written, and there is nothing to revoke."""
    LOGIN_FAMILY_MADE = "login.family_made"
    """The family is made; the account has not been read again."""
    ELEVATION_FAMILY_MADE = "elevation.family_made"
    """The elevated family is made; the session that it replaces still lives."""
    ELEVATION_ENDED = "elevation.ended"
    """The family says that its elevation is over."""
    REFRESH_ROTATED = "refresh.rotated"
    """The store of families has answered, whatever its answer."""
    GRANT_MINTING = "grant.minting"
    """All is read and nothing signed."""
    REVOCATION_JOURNALLED = "revocation.journalled"
    REVOCATION_ENDING = "revocation.ending"
    """The session's family says that it is being ended."""
    REVOCATION_DENIED = "revocation.denied"
    """The denylist has the entry."""
    REVOCATION_ENDED = "revocation.ended"
    """The session's family says that it has ended."""
    REVOCATION_DONE = "revocation.done"
    """The journal says that all of it is done; nobody has been told."""
    AUDIT_PENDED = "audit.pended"
    """An event lies in the outbox, and is not in the log yet."""
    AUDIT_APPENDED = "audit.appended"
    """Events are in the log; their drafts are still there, and nobody has been told."""
    AUDIT_CONSUMED = "audit.consumed"
    """A follower of the log has dealt with events, and its place does not say so yet."""
    AUDIT_REDACTION_NOTED = "audit.redaction_noted"
    """The log says that events are taken out of it; they are still there."""
    KEYS_BEFORE_WRITE = "keys.before_write"
    KEYS_TEMPORARY_MADE = "keys.temporary_made"
    KEYS_BEFORE_RENAME = "keys.before_rename"
    KEYS_AFTER_RENAME = "keys.after_rename"
    KEYS_ROW_WRITTEN = "keys.row_written"
    """The ring is in the database's row; its transaction is open."""
    KEYS_COMMITTED = "keys.committed"
    NOTIFICATIONS_QUEUED = "notifications.queued"
    """Who is to be told is written down; the place in the audit log has not moved on."""
    NOTIFICATION_LEASED = "notifications.leased"
    """An attempt is counted and not made."""
    NOTIFICATION_SENT = "notifications.sent"
    """The receiver has it, and nobody has noted that."""
    NOTIFICATION_NOTED = "notifications.noted"
    """What became of the attempt is written down."""
    RESTORE_MADE_SAFE = "restore.made_safe"
    """All rows are written; the transaction is open."""
    RESTORE_COMMITTED = "restore.committed"
    RESTORE_RING_CHECKED = "restore.ring_checked"
    RESTORE_ANNOUNCED = "restore.announced"
    RESTORE_REPLACED = "restore.replaced"
    RESTORE_CLEARED = "restore.cleared"
    RESTORE_FILLED = "restore.filled"
    RESTORE_COMPLETED = "restore.completed"


def _pass_by(_point: CrashPoint) -> None:
    """What production does."""


_visit: Callable[[CrashPoint], None] = _pass_by


def reach(point: CrashPoint) -> None:
    """Say that the step before `point` is done and the next not begun."""
    _visit(point)


def reach_in_directory_store(name: str) -> None:
    """The same for the names that `keys.DirectoryStore` gives its own."""
    reach(CrashPoint(f"keys.{name.replace('-', '_')}"))


def watch(visit: Callable[[CrashPoint], None] = _pass_by) -> None:
    """Have `visit` called at every crash point of this process, for tests; nothing to stop it."""
    global _visit  # noqa: PLW0603 - one process, one watcher
    _visit = visit
