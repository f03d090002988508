"""What a soak's table says of each fault, in a history that is written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from harness.race_history import Event, Figures, Grant, Violation, check
from harness.soak import Report, Soak, Struck
from harness.soak_faults import Fault

CUT = Fault("cut", lambda: None)
KILL = Fault("kill", lambda: None)
STRUCK = [Struck(CUT, 10, 11), Struck(KILL, 20, 24), Struck(CUT, 60, 61)]
"""Under way from 10 to 20, from 20 to 44 and from 60 to 80."""


def event(op: str, at: float, **more: object) -> Event:
    """One answer at a moment."""
    fields: dict[str, object] = {"person": "ann", "op": op, "status": 200, "client": 0, **more}
    return Event(start=at - 0.5, end=at, **fields)  # type: ignore[arg-type]


def ended_and_asked_for(*moments: float) -> list[Event]:
    """A session that is logged out at 5, and taken by a gateway at these moments all the same."""
    got = Grant("s", 1, "j", "access", "refresh")
    return [
        event("login", 1, password="first", got=got),
        event("logout", 5, ends="s"),
        *(event("gateway", at, client=-1, sid="s", ver=1, jti="j") for at in moments),
        event("login", 90, password="first", got=Grant("t", 1, "k", "access", "refresh")),
    ]


def report(events: list[Event], struck: Sequence[Struck] = STRUCK) -> Report:
    """What a soak with this history says."""
    violations, figures = check(events, {"ann": "first"})
    return Report(Soak(struck=list(struck)), 90, events, violations, figures)


def last_cells(made: Report) -> dict[str, str]:
    """The last column of each line of the table."""
    head, _, *lines = [line.strip("| ").split(" | ") for line in made.table().splitlines()]
    assert head[-1] == "Violations"
    return {line[0]: line[-1].strip("| ") for line in lines}


def test_each_violation_is_the_fault_s_under_which_it_was_seen() -> None:
    """At its beginning, in its midst and in what comes of it; not at the beginning of the next."""
    made = report(ended_and_asked_for(10, 19, 20, 43, 44, 50, 60, 61, 79))
    assert last_cells(made) == {"cut": "5", "kill": "2", "no fault under way": "2", "**all**": "9"}


def test_without_violations_every_line_says_so() -> None:
    """And none is made for what happened under no fault."""
    assert last_cells(report(ended_and_asked_for())) == {"cut": "0", "kill": "0", "**all**": "0"}


def test_what_is_no_one_moments_is_under_no_fault() -> None:
    """As what is found when everything has settled."""
    made = report(ended_and_asked_for(12))
    made.violations.append(Violation("2 passwords of ann are taken"))
    assert last_cells(made) == {"cut": "1", "kill": "0", "no fault under way": "1", "**all**": "2"}


@pytest.mark.parametrize("moment", [10, 30, 70])
def test_the_figures_count_what_the_table_does(moment: float) -> None:
    """No violation is in the figures and in no line, or in two."""
    made = report(ended_and_asked_for(moment))
    assert isinstance(made.figures, Figures)
    cells = last_cells(made)
    assert made.figures.violations == int(cells.pop("**all**")) == sum(map(int, cells.values()))
