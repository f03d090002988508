"""What happened in a race, and whether it may have happened so.

A history is a set of events, each with the time at which it was begun and the time at which its
answer was there. Between the two anything may take effect; before the first and after the second
nothing may.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

NO_ANSWER = 0
BUSY = 503
UNDECIDED = (NO_ANSWER, BUSY)
"""Answers after which nobody knows whether the thing was done."""
REFUSALS = {
    "login": {400},
    "refresh": {400},
    "change": {400, 401, 409},
    "sessions": {401},
    "introspect": set(),
    "gateway": {401},
    "logout": set(),
    "revoke": set(),
    "end": {401, 404},
}
NEVER = float("inf")
Generation = Callable[[str], int]
"""Of a refresh token, in its family."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The session and version of an answer that holds tokens."""

    sid: str
    ver: int
    jti: str
    access: str
    refresh: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One request, or one check at a gateway. Times in seconds, monotonic.

    A gateway's check begins when everything acknowledged by then was known to be in its replica.
    """

    person: str
    op: str
    start: float
    end: float
    status: int
    client: int = -1
    issuer: int = -1
    sid: str | None = None
    ver: int | None = None
    jti: str | None = None
    got: Grant | None = None
    active: bool | None = None
    error: str | None = None
    retry_after: str | None = None
    password: str | None = None
    new: str | None = None
    ends: str | None = None
    used: str | None = None
    """The refresh token that was presented to be replaced."""

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Event:
        """From a client's JSON."""
        got = written["got"]
        return cls(**{**written, "got": Grant(**got) if got else None})

    @property
    def accepted(self) -> bool:
        """Whether the token, or the password, was taken."""
        return self.status == 200 and self.active is not False

    def overlaps(self, other: Event) -> bool:
        """Whether the two were under way at the same time."""
        return self.start < other.end and other.start < self.end

    def __str__(self) -> str:
        shown = (self.op, self.person, self.status, f"version {self.ver}", self.error or "")
        return f"{self.start:.4f}-{self.end:.4f} client {self.client}: {shown}"


class Violation(str):
    """What may not have happened, in words."""

    at: float | None
    """When it was seen; None for what is no one moment's."""

    def __new__(cls, text: str, at: float | None = None) -> Self:
        made = super().__new__(cls, text)
        made.at = at
        return made

    @classmethod
    def of(cls, event: Event, text: str) -> Self:
        """What is wrong with an event, seen when its answer was there."""
        return cls(f"{text}: {event}", event.end)


class _Person:
    """One person's part of a history."""

    def __init__(
        self,
        events: list[Event],
        first_password: str,
        losses: Sequence[tuple[float, float]] = (),
        generation: Generation | None = None,
    ) -> None:
        self.events = events
        self.losses = losses
        self.generation = generation
        self.repeated = 0
        self.lost: set[str] = set()
        self.first_seen: dict[str, float] = {}
        self.changes = [event for event in events if event.op == "change"]
        self.version_of = {first_password: 1}
        self.proven = {first_password}
        # When a version was begun at the earliest, and when somebody had an answer from it.
        self.begun: dict[int, float] = {1: -NEVER}
        self.known: dict[int, float] = {1: -NEVER}
        self.end_begun: dict[str, float] = {}
        self.end_known: dict[str, float] = {}
        for change in self.changes:
            assert change.ver is not None
            assert change.new is not None
            version = change.ver + 1
            self.version_of[change.new] = version
            if change.status == 200 or change.status in UNDECIDED:
                self.begun[version] = min(self.begun.get(version, NEVER), change.start)
        for event in events:
            if event.got is not None:
                version = event.got.ver
                self.known[version] = min(self.known.get(version, NEVER), event.end)
                self.proven.update(filter(None, [event.new or event.password]))
                seen = self.first_seen.get(event.got.sid, NEVER)
                self.first_seen[event.got.sid] = min(seen, event.start)
            if event.ends is not None:
                begun = self.end_begun.get(event.ends, NEVER)
                self.end_begun[event.ends] = min(begun, event.start)
                if event.status == 200:
                    known = self.end_known.get(event.ends, NEVER)
                    self.end_known[event.ends] = min(known, event.end)
        self.last = max(self.known)

    def least_version(self, moment: float) -> int:
        """The highest version that somebody had an answer from by then."""
        return max(version for version, known in self.known.items() if known <= moment)

    def check(self) -> Iterable[Violation]:
        """Everything that may not have happened."""
        yield from self._winners()
        yield from self._families()
        for event in self.events:
            if event.status == BUSY and event.client >= 0 and not event.retry_after:
                yield Violation.of(event, "nobody was told when to come again")
            if event.status in UNDECIDED:
                continue
            if event.status != 200 and event.status not in REFUSALS[event.op]:
                yield Violation.of(event, "unexpected status")
            elif event.op == "login":
                yield from self._login(event)
            elif event.ver is not None:
                yield from self._accepted(event) if event.accepted else self._refused(event)

    def _winners(self) -> Iterable[Violation]:
        winners = defaultdict(set)
        for event in self.events:
            if event.got is None:
                continue
            if event.op == "change":
                winners[event.got.ver].add(event.new)
                if event.ver is None or event.got.ver != event.ver + 1:
                    yield Violation.of(event, f"a change gave version {event.got.ver}")
            if event.op == "login":
                winners[event.got.ver].add(event.password)
            if event.got.ver not in self.begun:
                yield Violation.of(event, f"a version that nobody made, {event.got.ver}")
        for version, passwords in winners.items():
            if len(passwords) > 1:
                yield Violation(
                    f"version {version} of {self.events[0].person} has {len(passwords)} passwords"
                )
        for version in range(1, self.last):
            if version not in self.known and version not in self.begun:
                yield Violation(f"version {version} of {self.events[0].person} was skipped")

    def _families(self) -> Iterable[Violation]:
        """A family is one line of generations, of which the last two at the most are taken."""
        if self.generation is None:
            return
        handed: dict[str, list[tuple[float, int]]] = defaultdict(list)
        replaced = []
        for event in self.events:
            if event.got is None:
                continue
            made = self.generation(event.got.refresh)
            handed[event.got.sid].append((event.end, made))
            if event.used is not None:
                replaced.append((event, event.got.sid, made, self.generation(event.used)))
        for event, sid, made, used in replaced:
            newest = max((gen for end, gen in handed[sid] if end <= event.start), default=used)
            self.repeated += made == newest
            if made not in {used, used + 1}:
                yield Violation.of(event, f"generation {made} came of generation {used}")
            if used < newest - 1:
                yield Violation.of(event, f"a family forked, {used} was taken after {newest}")

    def _login(self, event: Event) -> Iterable[Violation]:
        assert event.password is not None
        version = self.version_of[event.password]
        if event.got is not None:
            if event.got.ver != version:
                yield Violation.of(
                    event, f"the password of version {version} gave version {event.got.ver}"
                )
            if event.got.ver < self.least_version(event.start):
                yield Violation.of(event, "an old password was taken")
        elif (
            event.password in self.proven
            and self.known.get(version, NEVER) <= event.start
            and self.begun.get(version + 1, NEVER) >= event.end
        ):
            yield Violation.of(event, "the right password was refused")

    def _accepted(self, event: Event) -> Iterable[Violation]:
        assert event.ver is not None
        if event.ver < self.least_version(event.start):
            yield Violation.of(event, "an older token was taken")
        for ended in (event.sid, event.jti):
            if self.end_known.get(ended or "", NEVER) <= event.start:
                yield Violation.of(event, "a token of what had been ended was taken")
        got = event.got
        if event.op == "refresh" and got and (got.ver, got.sid) != (event.ver, event.sid):
            yield Violation.of(event, "a refresh changed session or version")

    def _refused(self, event: Event) -> Iterable[Violation]:
        assert event.ver is not None
        overtaken = self.begun.get(event.ver + 1, NEVER) < event.end
        ended = any(
            self.end_begun.get(name or "", NEVER) < event.end for name in (event.sid, event.jti)
        )
        # `end` may also not find what it was to end.
        gone = event.status == 404 and self.end_begun.get(event.ends or "", NEVER) < event.start
        if overtaken or ended or gone:
            return
        missed = event.ends if event.status == 404 else event.sid
        if self._may_be_lost(missed or "", event):
            self.lost.add(missed or "")
            return
        yield Violation.of(event, "a good token was refused")

    def _may_be_lost(self, sid: str, event: Event) -> bool:
        """Whether a store has lost data since the session began: then it may be gone."""
        begun = self.first_seen.get(sid, NEVER)
        return any(begun < over and since < event.end for since, over in self.losses)


@dataclass(frozen=True, slots=True)
class Figures:
    """How much of a race there was."""

    operations: Mapping[str, int]
    """Answered or not, by kind; a gateway's checks too."""
    changes_won: int
    changes_lost: int
    contested: int
    """Versions that several changes, all under way at one time, wanted to end."""
    interleavings: int
    """Pairs of a password change that won and another request that was under way meanwhile."""
    undecided: int
    violations: int
    lost: int
    """Sessions that a fault which loses data took, and that were refused for it."""
    repeated: int
    """Refreshes that gave a generation which had been given before: its answer was lost."""

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.operations.items()))
        return (
            f"{sum(self.operations.values())} operations ({kinds}); {self.changes_won} changes won,"
            f" {self.changes_lost} lost, {self.contested} versions contested;"
            f" {self.interleavings} interleavings; {self.undecided} without answer,"
            f" {self.repeated} successors given again;"
            f" {self.violations} violations"
        )


def check(
    events: Iterable[Event],
    first_passwords: Mapping[str, str],
    losses: Sequence[tuple[float, float]] = (),
    generation: Generation | None = None,
) -> tuple[list[Violation], Figures]:
    """Everything in a history that may not have happened, and its figures.

    `losses` are the spans of faults that lose data, from their beginning to their end. Without
    `generation` nobody looks at families.
    """
    by_person: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_person[event.person].append(event)
    violations: list[Violation] = []
    operations: Counter[str] = Counter()
    won = lost = contested = interleavings = undecided = gone = repeated = 0
    for name, own in by_person.items():
        own.sort(key=lambda event: event.start)
        person = _Person(own, first_passwords[name], losses, generation)
        violations += person.check()
        gone += len(person.lost)
        repeated += person.repeated
        operations.update(event.op for event in own)
        winners = [change for change in person.changes if change.status == 200]
        won += len(winners)
        lost += sum(change.status in REFUSALS["change"] for change in person.changes)
        undecided += sum(event.status in UNDECIDED for event in own)
        for winner in winners:
            meanwhile = [
                event
                for event in own
                if event is not winner and event.op != "gateway" and event.overlaps(winner)
            ]
            interleavings += len(meanwhile)
            contested += any(
                other.op == "change" and other.ver == winner.ver for other in meanwhile
            )
    figures = Figures(
        operations,
        won,
        lost,
        contested,
        interleavings,
        undecided,
        len(violations),
        gone,
        repeated,
    )
    return violations, figures
