"""A real issuer, or a real command, dies at each crash point of each operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from harness.crash_factors import OPERATIONS
from harness.crash_operations import Operation
from harness.crash_world import CrashWorld, check_after_death, die_in

from issuer.crash_points import CrashPoint

CELLS = [
    pytest.param(operation, point, id=f"{operation} at {point}")
    for operation in OPERATIONS
    for point in operation.points
    if not operation.keys and not operation.only_traced
]


@pytest.fixture(scope="module")
def world(make_world: Callable[..., AbstractContextManager[CrashWorld]]) -> Iterator[CrashWorld]:
    """An issuer on SQLite that is up again after each death."""
    with make_world() as running:
        yield running


@pytest.mark.parametrize(("operation", "point"), CELLS)
def test_death_undoes_nothing_and_leaves_nothing_half_done(
    world: CrashWorld, operation: Operation, point: CrashPoint
) -> None:
    """After SIGKILL and a start, gateway and refresh agree, older ends hold, a retry succeeds."""
    scene = die_in(world, operation, point)
    check_after_death(world, operation, point, scene)
