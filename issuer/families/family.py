"""The family's record, the rules of its rotation, and what every family store promises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple, Protocol

MILLISECONDS = 1000


class FamilyUnavailable(Exception):
    """The store of families does not answer, or with a record that only a newer version knows."""

    code: ClassVar[str] = "families_unavailable"


class Status(StrEnum):
    """Where a family stands. Ending is journalled first; whoever meets it applies it again."""

    LIVE = "live"
    ENDING = "ending"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class RotationRules:
    """The two windows of rotation, in seconds. Both at 0 give strict single use."""

    reuse_interval: float = 10.0
    """How long a generation just handed out is handed out again (other tabs, resends)."""
    retry_window: float | None = None
    """How long a successor that nobody has used yet is handed out again; None: while it lives."""


class Draft(NamedTuple):
    """What is noted together with a change, until somebody has written it down elsewhere."""

    id: str
    text: str


class LeftDraft(NamedTuple):
    """A draft that the store still has, and what became of the change that it came with."""

    id: str
    outcome: str
    """`created`, or the rotation's."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Elevation:
    """More for a short time, after which the session is as its other fields say.

    A program that does not know of elevations gives what those say: less, never more.
    """

    until: int
    """Its end, seconds since the epoch."""
    auth_time: int
    amr: tuple[str, ...]
    scope: str
    sub_ver: int
    """The account's when it began: whatever takes something from the person ends it too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFamily:
    """What a login fixes. Times in seconds since the epoch, `idle` a duration or None."""

    sub: str
    sid: str
    client_id: str
    credential_version: int
    auth_time: int
    amr: tuple[str, ...]
    scope: str
    idle: int | None
    absolute_end: int
    label: str = ""
    address: str = ""
    user_agent: str = ""
    elevation: Elevation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family's record as it was read. Times in seconds since the epoch."""

    sub: str
    sid: str
    client_id: str
    credential_version: int
    gen: int
    status: Status
    auth_time: int
    amr: tuple[str, ...]
    scope: str
    idle: int | None
    last_active: float
    """When the person last did something, by the client's word."""
    last_refresh: float
    absolute_end: int
    label: str
    address: str
    user_agent: str
    elevation: Elevation | None = None
    """Until somebody has taken it off, whether it is over or not."""

    def elevated(self, sub_ver: int, now: float) -> Elevation | None:
        """The elevation, if it is in force for an account of this version."""
        held = self.elevation
        return held if held and held.sub_ver == sub_ver and now < held.until else None

    @property
    def idle_end(self) -> float | None:
        """When the session ends unless the person does something (ASVS 7.3.1)."""
        return None if self.idle is None else self.last_active + self.idle

    @property
    def end(self) -> float:
        """The idle or the absolute end, whichever is first (ASVS 7.3.1, 7.3.2)."""
        idle_end = self.idle_end
        return self.absolute_end if idle_end is None else min(idle_end, self.absolute_end)


@dataclass(frozen=True, slots=True)
class Current:
    """The presented token is answered with the family's current generation."""

    family: Family


class Rotated(Current):
    """Rule 1: a new generation."""


class Repeated(Current):
    """Rule 1, within the reuse interval: the presented generation is still the current one."""


class Resent(Current):
    """Rule 2: the parent again, within the reuse interval (another tab, a resend)."""


class RetriedLate(Current):
    """Rule 3: the parent again, while nobody has used its successor (a lost answer)."""


@dataclass(frozen=True, slots=True)
class RefreshReuseDetected:
    """Rule 4: a spent token. The family is now ending (RFC 9700 section 4.14.2)."""

    family: Family


@dataclass(frozen=True, slots=True)
class RolledBack:
    """Rule 5: an authentic token of a generation that the store has not seen; it lost writes."""

    family: Family


class Reason(StrEnum):
    """Why a family gives nothing any more."""

    UNKNOWN = "unknown"
    ENDED = "ended"
    IDLE = "idle"
    ABSOLUTE = "absolute"
    VERSION = "version"
    """Its credential version is no longer the account's."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Rule 6: unknown, ended, past its end, or of an older credential version."""

    reason: Reason
    family: Family | None


RotationOutcome = Current | RefreshReuseDetected | RolledBack | Gone


class FamilyStore(Protocol):
    """One record for each live session, keyed by subject and session.

    Every method is atomic and may be retried. Time is the store's own. All raise
    `FamilyUnavailable` where the store does not answer. A family that is missing is never made
    again under its `sid`.
    """

    def create(self, new: NewFamily, *, draft: Draft | None = None) -> Family:
        """Record a new session at generation 1, and `draft` with it."""

    def rotate(
        self,
        sub: str,
        sid: str,
        gen: int,
        *,
        credential_version: int,
        active_ago: float | None = None,
        draft: Draft | None = None,
    ) -> RotationOutcome:
        """Apply the six rules to a presented generation; note `draft` if that changes anything.

        `active_ago` is how many seconds ago the person last did something; None: not since the
        last refresh. Reuse and rollback leave the family `ENDING`; a retry gets `Gone` with the
        record, so that it can apply the end again.
        """

    def get(self, sub: str, sid: str) -> Family | None:
        """The record, whatever its status, or None."""

    def of_subject(self, sub: str) -> list[Family]:
        """A subject's live families, oldest first."""

    def mark(self, sub: str, sid: str, status: Status) -> None:
        """Move a family on to `ENDING` or `ENDED`; never back, and nothing if it is missing."""

    def lower(self, sub: str, sid: str) -> bool:
        """Take a family's elevation off; True for the one call that did."""

    def versions(self) -> Iterator[tuple[str, int]]:
        """Subject and credential version of every family there is, in no order.

        One that is made or ends meanwhile may be left out, and one may come twice.
        """

    def clear(self, *, below: int) -> int:
        """Remove every family of a credential version below this; returns how many.

        For a restore: nothing is left that a record from the past could revive.
        """

    def drop_drafts(self, drafts: Iterable[tuple[str, str]]) -> None:
        """Forget drafts, given by subject and id, once they are written down; or again."""

    def left_drafts(self) -> Iterator[LeftDraft]:
        """Every draft that is still there, in no order; a store in memory has none."""

    def ping(self) -> None:
        """Raise `FamilyUnavailable` unless the store answers."""

    def close(self) -> None:
        """Release connections."""
