"""The same deaths on PostgreSQL, for one operation of each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from harness.crash_operations import operation
from harness.crash_world import CrashWorld, check_after_death, die_in
from harness.postgres_server import PostgresServer

from issuer.crash_points import CrashPoint

CELLS = [
    pytest.param(name, point, id=f"{name} at {point}")
    for name in (
        "logout by refresh token",
        "password change",
        "gatepass revoke client",
        "gatepass revoke token",
    )
    for point in operation(name).points
]


@pytest.fixture(scope="module")
def world(
    make_world: Callable[..., AbstractContextManager[CrashWorld]],
    postgres_server: PostgresServer,
) -> Iterator[CrashWorld]:
    """An issuer on PostgreSQL, its keys there too."""
    url = postgres_server.create_database()
    with make_world(database_url=url, key_store="database") as running:
        yield running
    postgres_server.drop_database(url)


@pytest.mark.parametrize(("name", "point"), CELLS)
def test_death_undoes_nothing_and_leaves_nothing_half_done(
    world: CrashWorld, name: str, point: CrashPoint
) -> None:
    """Gateway and refresh agree, older ends hold, a retry succeeds."""
    scene = die_in(world, operation(name), point)
    check_after_death(world, operation(name), point, scene)
