"""Two minutes of steady load while everything breaks in turn; the hour is run by hand.

`python tests/support/harness/soak.py --minutes 60` gives the table of docs/durability.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.soak import Report, Soak

EVERY = 11.5
"""Seconds from fault to fault: each kind comes once in two minutes."""


def acted_out(report: Report) -> None:
    """Fail unless enough happened for the absence of violations to mean something."""
    done = report.figures.operations
    assert done["gateway"] > 1_000
    assert min(done[kind] for kind in ("login", "refresh", "change", "logout", "revoke")) > 30
    undecided = report.figures.undecided
    assert 0 < undecided < 0.5 * sum(count for kind, count in done.items() if kind != "gateway")


@pytest.mark.timeout(400)
def test_nothing_acknowledged_is_lost_in_a_soak(tmp_path: Path) -> None:
    """Ten kinds of fault, one after the other: no violation, and the load goes on after each."""
    report = Soak().run(tmp_path / "fleet", seconds=120, every=EVERY)
    print(report)
    assert report.violations == []
    assert len({one.fault.name for one in report.soak.struck}) == 10
    acted_out(report)


def test_a_soak_finds_a_denylist_that_is_not_filled_again(tmp_path: Path) -> None:
    """Issuers that skip the replay after a FLUSHALL are found out.

    In one soak of five at the most: what a short one happens to ask again is left to chance.
    """

    def caught(attempt: int) -> bool:
        soak = Soak(alterations=["no-replay"], only="FLUSHALL")
        report = soak.run(tmp_path / str(attempt), seconds=16, every=8)
        return any("was taken" in violation for violation in report.violations)

    assert any(caught(attempt) for attempt in range(5))
