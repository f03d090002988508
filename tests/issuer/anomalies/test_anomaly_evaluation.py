"""The evaluation at a small scale, and what it says of each rule (docs/anomalies.md)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.anomalies.bounds import bounds
from benchmarks.anomalies.evaluation import (
    LABELS,
    QUICK,
    Results,
    Scale,
    evaluate,
    halved,
)
from benchmarks.anomalies.report import BUDGET, MADE_FOR, RULES, document
from issuer.anomalies.settings import AnomalySettings

UNSEEN = {
    "lockstep, at his heels",
    "stolen late, same agent",
    "tokens lent out, other rhythm",
    "ten refreshes a minute",
    "near, same agent",
    "stuffing, slow",
    "guessing, ten a day",
}
"""Attacks that the page says go unseen."""
TINY = Scale(people=40, days=4, runs=2, warm=2)


@pytest.fixture(scope="module")
def results() -> Results:
    return evaluate(QUICK)


def test_honest_people_are_left_alone(results: Results) -> None:
    """No false alarm among some hundreds of sessions with every oddity that there is."""
    assert results.sessions > 700
    assert results.examples == []
    assert sum(results.false.values()) == 0


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_finds_what_no_other_does(results: Results, rule: str) -> None:
    """At least a third of the runs, and none of them is left without it."""
    label = MADE_FOR[rule]
    assert results.recall(label, rule) * 3 >= results.runs[label] > 0
    assert results.without(label, rule) == 0


def test_what_the_page_calls_unseen_is(results: Results) -> None:
    """Blind spots are stated, and are no others."""
    assert {label for label in LABELS if results.recall(label) == 0} == UNSEEN


@pytest.mark.parametrize("rule", RULES)
def test_without_a_rule_its_attack_is_missed(rule: str) -> None:
    """The whole evaluation with one rule switched off."""
    found = evaluate(TINY, AnomalySettings.model_validate({rule: {"on": False}}))
    assert found.runs[MADE_FOR[rule]] > 0
    assert found.recall(MADE_FOR[rule]) == 0


def test_the_trace_is_hard_enough_for_thresholds_to_matter() -> None:
    """At half of each, honest people are accused: the generator is not made to please the rules."""
    assert sum(evaluate(QUICK, halved()).false.values()) > 0


def test_a_seed_makes_the_same_trace() -> None:
    """Whoever runs it again reads the same numbers."""
    least = Scale(people=15, days=3, runs=1, warm=2)
    one, other = (document(evaluate(least, seed=3)) for _ in range(2))
    assert one == other != document(evaluate(least, seed=4))


@pytest.mark.parametrize(
    ("found", "of", "low", "high"),
    [
        (0, 100, 0.0, 0.0362),
        (50, 100, 0.3983, 0.6017),
        (10, 10, 0.6915, 1.0),
        (1, 100_000, 2.5e-7, 5.572e-5),
        (0, 0, 0.0, 1.0),
    ],
)
def test_bounds_are_those_of_clopper_and_pearson(
    found: int, of: int, low: float, high: float
) -> None:
    """Against values from tables."""
    assert bounds(found, of) == pytest.approx((low, high), rel=2e-3, abs=1e-8)


def test_the_page_has_the_evaluation(project_root: Path) -> None:
    """Each rule and each attack has its row in docs/anomalies.md, of more than 100,000 sessions;
    false alarms are below 1 in 10,000 of these, and so is the upper bound."""
    page = (project_root / "docs" / "anomalies.md").read_text("utf-8")
    for rule in RULES:
        assert len(re.findall(rf"^\| `{rule}` \|", page, re.MULTILINE)) >= 2
    for label in LABELS:
        assert f"\n| {label} | " in page
    for rule, label in MADE_FOR.items():
        told = re.search(rf"^\| {label} \| \d+ \| \d+ \| ([^|]+) \| `{rule}` ", page, re.MULTILINE)
        assert told is not None
        assert re.search(
            rf"^\| `{rule}` \|.* \| {re.escape(told[1])} \| {label} \|", page, re.MULTILINE
        )
    summary = re.search(
        r"([\d,]+) honest sessions of .*?\*\*(\d+) honest sessions, ([\d.]+) in 10,000\*\*\n"
        r"\(95 % bounds ([\d.]+) to ([\d.]+)\)",
        page,
        re.DOTALL,
    )
    assert summary is not None
    sessions, false = int(summary[1].replace(",", "")), int(summary[2])
    assert sessions > 100_000
    told = [float(number) / 10_000 for number in summary.groups()[2:]]
    assert told == pytest.approx([false / sessions, *bounds(false, sessions)], abs=5e-7)
    assert told[0] < BUDGET
    assert told[2] < BUDGET
