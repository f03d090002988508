"""Runs checks and says what came out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from conformance.registry import DOCUMENTS, Check
from conformance.target import Target

MET = "met"
NOT_MET = "not met"
NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found."""

    check: Check
    result: str
    why: str = ""


def run(check: Check, target: Target) -> Outcome:
    """Run one check; whatever goes wrong in it is a finding, and never an exception."""
    missing = check.needs - target.offers
    if missing:
        return Outcome(check, NOT_RUN, f"needs {', '.join(sorted(missing))}")
    try:
        check.run(target)
    except AssertionError as error:
        return Outcome(check, NOT_MET, str(error) or "an assertion without words")
    except Exception as error:
        return Outcome(check, NOT_MET, f"{type(error).__name__}: {error}")
    return Outcome(check, MET)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    document: str
    number: str
    level: str
    what: str
    shown_by: str
    result: str


def rows_of(outcome: Outcome) -> list[Row]:
    """A row for each clause of a check."""
    result = outcome.result
    if outcome.why:
        result = f"{result}: {outcome.why}"
    return [
        Row(clause.document, clause.number, clause.level, clause.what, outcome.check.name, result)
        for clause in outcome.check.clauses
    ]


def table(rows: Iterable[Row]) -> str:
    """The rows as Markdown, a table for each document, in the order of its clauses."""
    listed = list(rows)
    parts = []
    for document in DOCUMENTS:
        own = sorted((row for row in listed if row.document == document), key=_order)
        if not own:
            continue
        lines = [
            f"## {document}",
            "",
            "| Clause | Level | What is asked for | Shown by | Result |",
            "|---|---|---|---|---|",
        ]
        lines += [
            "| "
            + " | ".join(map(_cell, (row.number, row.level, row.what, _code(row), row.result)))
            + " |"
            for row in own
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def summary(rows: Iterable[Row]) -> str:
    """How many rows have each result."""
    counts: dict[str, int] = {}
    for row in rows:
        kind = row.result.partition(":")[0]
        counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))


def _code(row: Row) -> str:
    return f"`{row.shown_by}`" if row.shown_by else ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _order(row: Row) -> tuple[list[int], str, str]:
    numbers = [int(part) if part.isdigit() else 0 for part in row.number.split(".")]
    return numbers, row.what, row.shown_by
