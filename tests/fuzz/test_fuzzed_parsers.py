"""Parsers fuzzed for a moment each: nothing is found, and a planted mistake is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
CORPUS = RUN.with_name("corpus")
BOX = 0.4
MUTANT_BOX = 8.0
"""Seconds for each target; a mistake that is found ends its box."""
LEAST = 50
"""Inputs that even a busy machine tries in that time."""

Reports = dict[str, dict[str, object]]


def fuzzed(*options: str) -> Reports:
    """What a run over all targets reports."""
    argv = [sys.executable, str(RUN), "all", *options]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=280)
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert reports, done.stderr[-2000:]
    return {str(report["target"]): report for report in reports}


@pytest.fixture(scope="module")
def mutants() -> Reports:
    """The reports of a run with every target's mistake planted."""
    return fuzzed("--mutant", "--seconds", str(MUTANT_BOX))


def test_nothing_is_found() -> None:
    """No parser raises what it does not declare, takes what it may not, or takes long over it."""
    reports = fuzzed("--seconds", str(BOX))
    found = {name: report["log"] for name, report in reports.items() if report["found"]}
    assert found == {}
    assert {
        name: report["tried"] for name, report in reports.items() if report["tried"] < LEAST
    } == {}
    # Only what gets past every check reaches all of a parser.
    assert [name for name, report in reports.items() if not report["taken"]] == []
    known = {path.name for path in CORPUS.iterdir()}
    assert known <= reports.keys()


def test_each_target_finds_its_mistake(mutants: Reports) -> None:
    """A mistake planted in a parser is found within the box, whatever the target."""
    assert [name for name, report in mutants.items() if not report["found"]] == []
