"""A second opinion on refresh rotation: design.md's six rules, judged from what has happened.

Written from the text alone and kept apart from the stores: where they keep a few fields, this
keeps the events (who was handed what and when, which generations were presented, which saw a
late retry) and derives the rest. Times are whole milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LIVE, ENDING, ENDED = "live", "ending", "ended"
LATE_GENERATIONS_IN_A_ROW = 4
"""So many late generations in a row are reuse."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a presented token must get; `reasons` are those that a refusal by rule 6 may give."""

    name: str
    reasons: frozenset[str] = frozenset()


@dataclass(slots=True)
class ModelFamily:
    """One family, by its events."""

    version: int
    idle: int | None
    absolute_end: int
    reuse_interval: int
    retry_window: int | None
    """None: as long as the family lives."""
    made: int
    gen: int = 1
    status: str = LIVE
    active: int = 0
    refreshed: int = 0
    born: dict[int, int] = field(default_factory=dict)
    handings: list[tuple[int, int]] = field(default_factory=list)
    """(generation, when): by login, rule 1's rotation, rule 3, and rule 2 while unconfirmed."""
    presented: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.active = self.refreshed = self.born[1] = self.made
        self.handings.append((1, self.made))

    # --- what follows from the events --------------------------------------------------------

    @property
    def started(self) -> int:
        return self.born[self.gen]

    @property
    def handed(self) -> int:
        return max(at for gen, at in self.handings if gen == self.gen)

    @property
    def idle_end(self) -> int | None:
        return None if self.idle is None else self.active + self.idle

    def is_past(self, now: int) -> bool:
        """Whether the idle or the absolute end is over, at which the record may be gone too."""
        return now >= min(self.absolute_end, self.idle_end or self.absolute_end)

    def late_generations_before(self, gen: int) -> int:
        """How many generations in a row, up to and without this one, saw a late retry."""
        run = 0
        while gen - 1 - run in self.late:
            run += 1
        return run

    # --- what can happen ---------------------------------------------------------------------

    def mark(self, status: str) -> None:
        order = (LIVE, ENDING, ENDED)
        self.status = max(self.status, status, key=order.index)

    def present(self, g: int, *, version: int, now: int, active_ago: int | None) -> Verdict:
        """A token of generation `g` arrives."""
        refusals = self._refusals(version, now)
        if refusals:
            return Verdict("gone", refusals)
        name = self._judge(g, now)
        if name in {"reuse", "rolled_back"}:
            self.status = ENDING
            return Verdict(name)
        self.refreshed = now
        # Only a person's activity counts, and what is older than the last is no news.
        if active_ago is not None:
            self.active = max(self.active, now - max(active_ago, 0))
        return Verdict(name)

    def _refusals(self, version: int, now: int) -> frozenset[str]:
        """Rule 6. More than one reason may hold, and what is past its end may be forgotten."""
        reasons = set()
        if self.status != LIVE:
            reasons.add("ended")
        if now >= self.absolute_end:
            reasons |= {"absolute", "unknown"}
        if self.idle_end is not None and now >= self.idle_end:
            reasons |= {"idle", "unknown"}
        if version != self.version:
            reasons.add("version")
        return frozenset(reasons)

    def _judge(self, g: int, now: int) -> str:
        just_handed = now - self.handed < self.reuse_interval
        if g > self.gen:  # rule 5
            return "rolled_back"
        if g == self.gen:  # rule 1
            self.presented.add(g)
            if just_handed:
                return "repeated"
            self.gen += 1
            self.born[self.gen] = now
            self.handings.append((self.gen, now))
            return "rotated"
        if g == self.gen - 1 and just_handed:  # rule 2
            if self.gen not in self.presented:
                self.handings.append((self.gen, now))
            return "resent"
        if g == self.gen - 1 and self._forgives(now):  # rule 3
            self.late.add(self.gen)
            self.handings.append((self.gen, now))
            return "retried_late"
        return "reuse"  # rule 4

    def _forgives(self, now: int) -> bool:
        unconfirmed = self.gen not in self.presented
        # Less than, not at most: a window of 0 forgives nothing.
        in_window = self.retry_window is None or now - self.started < self.retry_window
        in_a_row = self.late_generations_before(self.gen) + 1
        free = self.gen in self.late
        return unconfirmed and in_window and (free or in_a_row < LATE_GENERATIONS_IN_A_ROW)
