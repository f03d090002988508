"""Families in one process's memory: the same rules, lost with the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from .family import (
    MILLISECONDS,
    Draft,
    Family,
    LeftDraft,
    NewFamily,
    RotationOutcome,
    RotationRules,
    Status,
)
from .outcome import outcome_of

LATE_STREAK_LIMIT = 3
"""A late retry in each of this many generations in a row is forgiven; one more is reuse."""


@dataclass(slots=True)
class _Record:
    """A family and its rotation fields; times in milliseconds, as in Redis."""

    family: Family
    started: int
    handed: int
    confirmed: bool = False
    late_seen: bool = False
    late_streak: int = 0


class MemoryFamilies:
    """Implements `FamilyStore` for the threads of one process."""

    _shared: ClassVar[dict[str, MemoryFamilies]] = {}
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, rules: RotationRules, *, clock: Callable[[], float] = time.time) -> None:
        self._rules = rules
        self._clock = clock
        self._lock = threading.Lock()
        self._records: dict[tuple[str, str], _Record] = {}
        self._next_sweep = 0.0

    @classmethod
    def shared(
        cls, url: str, rules: RotationRules, *, clock: Callable[[], float] = time.time
    ) -> MemoryFamilies:
        """The one store of this process under a URL."""
        with cls._shared_lock:
            return cls._shared.setdefault(url, cls(rules, clock=clock))

    def _now(self) -> int:
        return int(self._clock() * MILLISECONDS)

    def create(self, new: NewFamily, *, draft: Draft | None = None) -> Family:  # noqa: ARG002
        with self._lock:
            now = self._now()
            self._sweep(now)
            existing = self._records.get((new.sub, new.sid))
            if existing is not None:
                return existing.family
            family = Family(
                sub=new.sub,
                sid=new.sid,
                client_id=new.client_id,
                credential_version=new.credential_version,
                gen=1,
                status=Status.LIVE,
                auth_time=new.auth_time,
                amr=new.amr,
                scope=new.scope,
                idle=new.idle,
                last_active=now / MILLISECONDS,
                last_refresh=now / MILLISECONDS,
                absolute_end=new.absolute_end,
                label=new.label,
                address=new.address,
                user_agent=new.user_agent,
                elevation=new.elevation,
            )
            self._records[new.sub, new.sid] = _Record(family, started=now, handed=now)
            return family

    def _sweep(self, now: int) -> None:
        if now < self._next_sweep:
            return
        self._next_sweep = now + 60 * MILLISECONDS
        past = [key for key, held in self._records.items() if _past(held.family, now)]
        for key in past:
            del self._records[key]

    def rotate(
        self,
        sub: str,
        sid: str,
        gen: int,
        *,
        credential_version: int,
        active_ago: float | None = None,
        draft: Draft | None = None,  # noqa: ARG002 - the process that would lose it has it
    ) -> RotationOutcome:
        with self._lock:
            record = self._records.get((sub, sid))
            if record is None:
                return outcome_of("unknown", None)
            now = self._now()
            name = self._apply_rules(record, gen, credential_version, now)
            if name in {"reuse", "rolled_back"}:
                record.family = replace(record.family, status=Status.ENDING)
            elif name in {"rotated", "repeated", "resent", "retried_late"}:
                active = record.family.last_active
                if active_ago is not None:
                    at = (now - max(int(active_ago * MILLISECONDS), 0)) / MILLISECONDS
                    active = max(active, at)
                record.family = replace(
                    record.family, last_active=active, last_refresh=now / MILLISECONDS
                )
            return outcome_of(name, record.family)

    def _apply_rules(  # noqa: PLR0911 - one return for each rule
        self, record: _Record, gen: int, credential_version: int, now: int
    ) -> str:
        """The outcome's name; `rotate.lua` says the same in the same order."""
        gone = _why_gone(record.family, credential_version, now)
        if gone is not None:
            return gone
        current = record.family.gen
        just_handed = now - record.handed < self._rules.reuse_interval * MILLISECONDS
        if gen == current:
            if just_handed:
                record.confirmed = True
                return "repeated"
            self._next_generation(record, now)
            return "rotated"
        if gen > current:
            return "rolled_back"
        if gen == current - 1:
            if just_handed:
                # The answers before may all have been lost, and tabs still send the parent.
                if not record.confirmed:
                    record.handed = now
                return "resent"
            if self._forgives_late_retry(record, now):
                if not record.late_seen:
                    record.late_seen = True
                    record.late_streak += 1
                record.handed = now
                return "retried_late"
        return "reuse"

    def _next_generation(self, record: _Record, now: int) -> None:
        if not record.late_seen:
            record.late_streak = 0
        record.late_seen = False
        record.confirmed = False
        record.started = record.handed = now
        record.family = replace(record.family, gen=record.family.gen + 1)

    def _forgives_late_retry(self, record: _Record, now: int) -> bool:
        window = self._rules.retry_window
        in_window = window is None or now - record.started < window * MILLISECONDS
        unspent = record.late_seen or record.late_streak < LATE_STREAK_LIMIT
        return not record.confirmed and in_window and unspent

    def get(self, sub: str, sid: str) -> Family | None:
        with self._lock:
            record = self._records.get((sub, sid))
            if record is None or _past(record.family, self._now()):
                return None
            return record.family

    def of_subject(self, sub: str) -> list[Family]:
        with self._lock:
            now = self._now()
            families = [
                record.family
                for (owner, _), record in self._records.items()
                if owner == sub
                and record.family.status is Status.LIVE
                and not _past(record.family, now)
            ]
        return sorted(families, key=lambda family: family.auth_time)

    def mark(self, sub: str, sid: str, status: Status) -> None:
        with self._lock:
            record = self._records.get((sub, sid))
            if record is not None and _is_forward(record.family.status, status):
                record.family = replace(record.family, status=status)

    def lower(self, sub: str, sid: str) -> bool:
        with self._lock:
            record = self._records.get((sub, sid))
            if record is None or record.family.elevation is None:
                return False
            record.family = replace(record.family, elevation=None)
            return True

    def versions(self) -> Iterator[tuple[str, int]]:
        with self._lock:
            found = [
                (held.family.sub, held.family.credential_version) for held in self._records.values()
            ]
        return iter(found)

    def clear(self, *, below: int) -> int:
        with self._lock:
            old = [
                key for key, held in self._records.items() if held.family.credential_version < below
            ]
            for key in old:
                del self._records[key]
        return len(old)

    def drop_drafts(self, drafts: Iterable[tuple[str, str]]) -> None:
        """There are none."""

    def left_drafts(self) -> Iterator[LeftDraft]:
        return iter(())

    def ping(self) -> None:
        """Memory always answers."""

    def close(self) -> None:
        """Nothing to release."""


def _is_forward(old: Status, new: Status) -> bool:
    return new is Status.ENDED or (new is Status.ENDING and old is Status.LIVE)


def _past(family: Family, now: int) -> bool:
    # Rounded: the float of an end in whole milliseconds may lie on either side of it.
    return now >= round(family.end * MILLISECONDS)


def _why_gone(family: Family, credential_version: int, now: int) -> str | None:
    reason: str | None = None
    idle_end = family.idle_end
    if family.status is not Status.LIVE:
        reason = "ended"
    elif now >= family.absolute_end * MILLISECONDS:
        reason = "absolute"
    elif idle_end is not None and now >= round(idle_end * MILLISECONDS):
        reason = "idle"
    elif family.credential_version != credential_version:
        reason = "version"
    return reason
