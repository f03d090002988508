"""What the judge of a history calls a violation, in histories that are written by hand."""

from __future__ import annotations

import pytest
from harness.race_history import Event, Grant, check

LOGIN = Event(
    person="ann",
    op="login",
    start=0,
    end=1,
    status=200,
    client=0,
    password="first",
    got=Grant("s", 1, "j", "access", "0"),
)


def refresh(at: float, used: int, got: int | None = None, status: int = 200, **more: str) -> Event:
    """A refresh of the session; a token is written as the number of its generation."""
    grant = None if got is None else Grant("s", 1, f"j{at}", "access", str(got))
    return Event(
        person="ann",
        op="refresh",
        start=at,
        end=at + 0.5,
        status=status,
        client=0,
        sid="s",
        ver=1,
        got=grant,
        used=str(used),
        **more,
    )


def violations(*events: Event, losses: tuple[tuple[float, float], ...] = ()) -> list[str]:
    """What is wrong with a history that begins with a login."""
    return check([LOGIN, *events], {"ann": "first"}, losses, int)[0]


def test_a_lost_answer_is_no_violation() -> None:
    """The parent again gives the same successor, and the family goes on from that."""
    events = [refresh(1, 0, 1), refresh(2, 0, 1), refresh(3, 1, 2), refresh(3.1, 1, 2)]
    assert violations(*events) == []
    assert check([LOGIN, *events], {"ann": "first"}, (), int)[1].repeated == 1


@pytest.mark.parametrize(
    ("telling", "events"),
    [
        ("a family forked", [refresh(1, 0, 1), refresh(2, 1, 2), refresh(3, 0, 1)]),
        ("generation 2 came of generation 0", [refresh(1, 0, 2)]),
        (
            "generation 1 came of generation 2",
            [refresh(1, 0, 1), refresh(2, 1, 2), refresh(3, 2, 1)],
        ),
        ("a good token was refused", [refresh(1, 0, 1), refresh(2, 1, status=400)]),
        ("a good token was refused", [refresh(1, 0, 1), refresh(2, 0, status=400)]),
        ("nobody was told when to come again", [refresh(1, 0, status=503)]),
        ("unexpected status", [refresh(1, 0, status=500)]),
    ],
)
def test_what_may_not_happen_is_told(telling: str, events: list[Event]) -> None:
    """A fork, a step over, a step back, a lost successor, a 503 without a time, a 500."""
    assert [each for each in violations(*events) if each.startswith(telling)] != []


def test_lost_data_excuse_the_loss_of_a_session_alone() -> None:
    """A session from before a fault that loses data may be gone; it may not have forked."""
    gone = refresh(4, 1, status=400)
    assert violations(refresh(1, 0, 1), gone, losses=((2, 3),)) == []
    forked = [refresh(1, 0, 1), refresh(1.5, 1, 2), refresh(4, 0, 1)]
    assert len(violations(*forked, losses=((2, 3),))) == 1
