"""The tables of docs/anomalies.md."""

from __future__ import annotations

from statistics import median

from .attacks import ATTACKS
from .bounds import bounds
from .evaluation import Results

RULES = (
    "reuse",
    "follower",
    "two_places",
    "moved",
    "refresh_rate",
    "impossible_travel",
    "new_device",
    "guessing",
    "stuffing",
)
MADE_FOR = {
    "reuse": "stolen late, owner returns",
    "follower": "lockstep, same place",
    "two_places": "tokens lent out",
    "moved": "stolen late, other agent",
    "refresh_rate": "a refresh a second",
    "impossible_travel": "far away, same agent",
    "new_device": "near, other agent",
    "guessing": "guessing",
    "stuffing": "stuffing, one network",
}
"""For each rule an attack that nothing else sees."""
BUDGET = 1e-4
"""False alarms of honest sessions, at most."""


def document(results: Results) -> str:
    """All of it, as markdown."""
    return "\n".join([_summary(results), _rules(results), _attacks(results)])


def _summary(results: Results) -> str:
    false = len(results.false_sessions)
    low, high = bounds(false, results.sessions)
    return f"""\
Measured with `python -m benchmarks.anomalies`: {results.sessions:,} honest sessions of \
{results.scale.people:,} people in {results.scale.days} days,
{sum(results.runs.values()):,} attacks, {results.events:,} events. False alarms touched \
**{false} honest sessions, {false / results.sessions * 10_000:.2f} in 10,000**
(95 % bounds {low * 10_000:.2f} to {high * 10_000:.2f}). At most {results.most_records:,} records \
were kept at a time.
"""


def _rules(results: Results) -> str:
    lines = [
        "| Rule | Right alarms | False ones | Precision | Recall | Of the attack "
        "| False in 10,000 honest sessions | Median delay |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rule in RULES:
        true, false = results.true[rule], results.false[rule]
        attack = MADE_FOR[rule]
        recall = _share(results.recall(attack, rule), results.runs[attack])
        low, high = bounds(false, results.sessions)
        rate = (
            f"{false / results.sessions * 10_000:.2f} ({low * 10_000:.2f} to {high * 10_000:.2f})"
        )
        lines.append(
            f"| `{rule}` | {true:,} | {false} | {_share(true, true + false)} "
            f"| {recall} | {attack} "
            f"| {rate} | {_delay(results.delays[rule])} |"
        )
    told, new = results.new_devices_told, results.new_devices
    lines.append("")
    lines.append(
        "Recall is of the one attack of the next table that no other rule sees; how much each rule "
        "finds of every\nother, and what none finds, is there.\n"
    )
    lines.append(
        f"Honest people logged in with a device that their account had never had {new:,} times; "
        f"`new_device` told of {told:,}\nof these ({_share(told, new)}), which are among its right "
        "alarms: another device of a family that the account\nhas looks the same."
    )
    return "\n".join(lines) + "\n"


def _attacks(results: Results) -> str:
    lines = [
        "| Attack | Runs | Found | Recall | By | Without that rule |",
        "|---|---|---|---|---|---|",
    ]
    for label in ATTACKS:
        runs = results.runs[label]
        if not runs:
            continue
        found = results.recall(label)
        by = sorted(RULES, key=lambda rule: -results.recall(label, rule))
        told = [
            f"`{rule}` {results.recall(label, rule)}" for rule in by if results.recall(label, rule)
        ]
        without = str(results.without(label, by[0])) if found else ""
        lines.append(
            f"| {label} | {runs} | {found} | {_share(found, runs)} | {', '.join(told)} "
            f"| {without} |"
        )
    return "\n".join(lines) + "\n"


def _share(found: int, of: int) -> str:
    if not of:
        return ""
    low, high = bounds(found, of)
    return f"{found / of:.0%} ({low:.1%} to {high:.1%})"


def _delay(delays: list[float]) -> str:
    if not delays:
        return ""
    seconds = median(delays)
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
