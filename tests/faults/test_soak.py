"""Steady load while everything breaks in turn, a few seconds each; the hours are run by hand.

`python tests/support/harness/soak.py --minutes 60` gives the tables of docs/durability.md.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import soak
from harness.processes import monotonic
from harness.race_load import issued
from harness.soak import Report, Soak
from harness.soak_faults import SKEW

DEPLOYMENTS = [("redis", 18, 5.5, 25), ("sentinel", 3, 10.0, 6), ("cluster", 3, 6.5, 4)]
"""How Redis is set up, kinds of fault, seconds from one to the next, least of each operation."""


def acted_out(report: Report, least: int) -> None:
    """Fail unless enough happened for the absence of violations to mean something."""
    done = report.figures.operations
    assert done["gateway"] > 1_000
    assert min(done[kind] for kind in ("login", "refresh", "change", "logout", "revoke")) >= least
    assert report.figures.repeated >= least
    undecided = report.figures.undecided
    assert 0 < undecided < 0.5 * sum(count for kind, count in done.items() if kind != "gateway")


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("on", "kinds", "every", "least"), DEPLOYMENTS, ids=["redis", "sentinel", "cluster"]
)
def test_nothing_acknowledged_is_lost_in_a_soak(
    tmp_path: Path, on: str, kinds: int, every: float, least: int
) -> None:
    """Each kind of fault in turn: no violation, and the load goes on after each."""
    report = Soak(on=on).run(tmp_path / "fleet", seconds=(kinds + 0.5) * every, every=every)
    print(report)
    assert report.violations == []
    assert len({one.fault.name for one in report.soak.struck}) == kinds
    acted_out(report, least)
    if on == "redis":
        assert_a_clock_was_wrong(report)


def assert_a_clock_was_wrong(report: Report) -> None:
    """Tokens were issued in the future, and taken all the same."""
    ahead = time.time() - monotonic() + SKEW / 2
    early = [
        event.got for event in report.events if event.got and issued(event.got) > event.end + ahead
    ]
    taken = {event.jti for event in report.events if event.op == "gateway" and event.status == 200}
    assert {grant.jti for grant in early} & taken


def test_the_soak_is_a_program() -> None:
    """As docs/durability.md has it: by its path, with its options."""
    argv = [sys.executable, soak.__file__, "--help"]
    told = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "--minutes" in told.stdout


def test_a_soak_finds_a_denylist_that_is_not_filled_again(tmp_path: Path) -> None:
    """Issuers that skip the replay after a FLUSHALL are found out.

    In one soak of five at the most: what a short one happens to ask again is left to chance. A
    change of password would make good what was lost, so nobody wants one.
    """

    def caught(attempt: int) -> bool:
        emptied = Soak(alterations=["no-replay"], only="FLUSHALL", period=60.0)
        report = emptied.run(tmp_path / str(attempt), seconds=16, every=16)
        return any("was taken" in violation for violation in report.violations)

    assert any(caught(attempt) for attempt in range(5))
