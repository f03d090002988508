"""The limit on a session's refreshes, simulated: twelve tabs on a network that loses most."""

from __future__ import annotations

import pytest
from harness import rotation_simulation
from harness.millisecond_clock import MillisecondClock
from harness.rotation_simulation import OrderedTabs

from issuer.families import FamilyStore, RotationRules
from issuer.families.memory_families import MemoryFamilies
from issuer.limits.settings import LimitSettings
from issuer.limits.windows import parse_windows

RUNS = 300


def in_memory(rules: RotationRules, clock: MillisecondClock) -> FamilyStore:
    return MemoryFamilies(rules, clock=clock)


class LimitedTabs(OrderedTabs):
    """Tabs that start at once, at an issuer with so many refreshes a minute for each session."""

    def __init__(self, seed: int, most: int) -> None:
        super().__init__(in_memory, seed, spread=1.0)
        self.most = most
        self.refused = 0
        self._begun = -60_000
        self._count = 0

    def arrives(self, gen: int, *, retries: bool) -> None:
        if self.clock.ms - self._begun >= 60_000:
            self._begun, self._count = self.clock.ms, 0
        self._count += 1
        if self._count <= self.most:
            super().arrives(gen, retries=retries)
            return
        self.refused += 1
        # A tab that is told to wait does, and asks with what the cookie says by then.
        self.after((self._begun + 60_000 - self.clock.ms) / 1000 + self.delay(), self.refresh)


@pytest.mark.parametrize("lost", [0.1, 0.5, 0.8])
def test_an_honest_client_never_meets_the_default(
    lost: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve tabs restored at once, and up to four answers in five lost: nothing is refused."""
    monkeypatch.setattr(rotation_simulation, "LOST", lost)
    (window,) = parse_windows(LimitSettings().refreshes_session)
    assert window.get_expiry() == 60
    for seed in range(RUNS):
        browser = LimitedTabs(seed, window.amount)
        browser.run()
        assert browser.refused == 0


def test_who_meets_a_limit_is_not_signed_out_by_it() -> None:
    """One that is far too narrow: the tabs wait their turn, and the session goes on."""
    refused = 0
    for seed in range(RUNS):
        browser = LimitedTabs(seed, 6)
        browser.run()
        refused += browser.refused
        assert not browser.logged_out
    assert refused > RUNS
