"""Twelve tabs on a bad network are never logged out; a thief in lockstep soon is."""

from __future__ import annotations

import pytest
from harness.family_mutants import changed_memory_families
from harness.millisecond_clock import MillisecondClock
from harness.rotation_simulation import LockstepThief, OrderedTabs, RestoredTabs

from issuer.families import FamilyStore, RotationRules
from issuer.families.memory_families import MemoryFamilies

RUNS = 4000
LATE_RETRY_NOT_HANDED_OUT = (
    '                record.handed = now\n                return "retried_late"',
    '                return "retried_late"',
)


def in_memory(rules: RotationRules, clock: MillisecondClock) -> FamilyStore:
    return MemoryFamilies(rules, clock=clock)


@pytest.mark.parametrize("spread", [2.0, 10.0, 20.0])
def test_twelve_restored_tabs_are_never_logged_out(spread: float) -> None:
    """One answer in ten is lost and each way takes up to three seconds: no false logout.

    However slowly they start; answers that overtake each other are put in order by the client.
    """
    logouts = late_retries = 0
    for seed in range(RUNS):
        browser = OrderedTabs(in_memory, seed, spread=spread)
        browser.run()
        logouts += browser.logged_out
        late_retries += browser.late_retries
    assert late_retries > RUNS / 10, "answers were lost for long, or this shows nothing"
    assert logouts == 0


def test_the_simulation_needs_late_retries_to_be_handed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without `handed` at a late retry, tabs run ahead of a slow one and the session ends."""
    mutant = changed_memory_families(monkeypatch, LATE_RETRY_NOT_HANDED_OUT)
    logouts = 0
    for seed in range(500):
        browser = RestoredTabs(lambda rules, clock: mutant(rules, clock=clock), seed)
        browser.run()
        logouts += browser.logged_out
    assert logouts >= 10


def test_a_thief_in_lockstep_never_gets_past_three_generations() -> None:
    """Whatever his timing outside the reuse interval, the session ends at the fourth at latest."""
    most = 0
    for seed in range(RUNS // 2):
        crime = LockstepThief(in_memory, seed)
        crime.run()
        assert crime.logged_out
        most = max(most, len(crime.thief_got))
    assert most == 3


def test_the_simulation_needs_the_limit_on_late_generations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without it the thief follows for as long as the owner goes on."""
    mutant = changed_memory_families(monkeypatch, ("and in_window and unspent", "and in_window"))
    crime = LockstepThief(lambda rules, clock: mutant(rules, clock=clock), 1)
    crime.run()
    assert len(crime.thief_got) > 3
