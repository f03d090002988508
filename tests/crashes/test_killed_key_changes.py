"""Whoever changes the key ring dies halfway: the ring stays whole, and a revoked key leaves it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from harness.crash_operations import operation, succeeded
from harness.crash_world import CrashWorld, check_after_death, die_in
from harness.processes import until

from issuer.crash_points import CrashPoint
from issuer.database import open_engine
from issuer.database.tables import key_rings

_REVOKE = operation("gatepass revoke key")
_RING_FILE = operation("gatepass keys rotate").points
_IN_SQL = (CrashPoint.KEYS_ROW_WRITTEN, CrashPoint.KEYS_COMMITTED)
_MakeWorld = Callable[..., AbstractContextManager[CrashWorld]]


@pytest.fixture(scope="module")
def world(make_world: _MakeWorld) -> Iterator[CrashWorld]:
    """An issuer whose keys nobody else needs."""
    with make_world() as running:
        yield running


@pytest.mark.parametrize("point", _REVOKE.points)
def test_a_key_whose_revocation_was_cut_off_leaves_the_ring(
    world: CrashWorld, point: CrashPoint
) -> None:
    """The issuer takes it out by itself, and signs with another; the command may be repeated."""
    scene = die_in(world, _REVOKE, point)
    check_after_death(world, _REVOKE, point, scene)


def kids(world: CrashWorld, **settings: str) -> list[str]:
    """The keys of a store, all of it read and decrypted."""
    listed = world.command("keys", "list", "--json", env=settings).done().json["keys"]
    return [key["kid"] for key in listed]


@pytest.mark.parametrize("point", _RING_FILE)
def test_a_rotation_that_was_cut_off_is_made_again(
    world: CrashWorld, tmp_path: Path, point: CrashPoint
) -> None:
    """The old ring or the new one is there, and the next command makes the successors once."""
    shutil.copytree(world.directory / "keys", tmp_path / "keys")
    own = {"GATEPASS_KEYS_DIR": str(tmp_path / "keys")}
    old = kids(world, **own)
    # Nothing is due before the youngest key is a second old.
    for _ in until(10, "a ring that can be rotated"):
        world.arm(point, "command")
        if world.command("keys", "rotate", "--early", env=own).code != 0:
            break
    renamed = point is CrashPoint.KEYS_AFTER_RENAME
    assert (kids(world, **own) != old) == renamed
    changed = world.command("keys", "rotate", "--early", "--json", env=own).done().json["changed"]
    assert bool(changed) != renamed
    new = kids(world, **own)
    assert set(old) < set(new)
    succeeded(world.command("keys", "rotate", "--early", env=own))
    assert kids(world, **own) == new


@pytest.mark.parametrize("point", _IN_SQL)
def test_a_rotation_in_the_database_that_was_cut_off_is_made_again(
    world: CrashWorld, point: CrashPoint
) -> None:
    """The transaction counts as a whole, and its lock goes with the process."""
    own = {"GATEPASS_KEY_STORE": "database"}
    engine = open_engine(world.database_url)
    with engine.begin() as connection:
        connection.execute(sa.delete(key_rings))
    engine.dispose()
    world.arm(point, "command")
    assert world.command("keys", "rotate", env=own).code == -9
    committed = point is CrashPoint.KEYS_COMMITTED
    assert bool(kids(world, **own)) == committed
    succeeded(world.command("keys", "rotate", env=own))
    assert kids(world, **own)


@pytest.mark.parametrize(
    ("settings", "point"),
    [
        pytest.param(settings, point, id=str(point))
        for settings, points in (({}, _RING_FILE), ({"key_store": "database"}, _IN_SQL))
        for point in points
    ],
)
def test_an_issuer_that_died_over_its_first_keys_starts(
    make_world: _MakeWorld, settings: dict[str, Any], point: CrashPoint
) -> None:
    """The first ring of all is written whole or not at all; the next start serves."""
    with make_world(dies_first_at=point, **settings) as world:
        world.settle()
        world.holds_what_was_acknowledged()
