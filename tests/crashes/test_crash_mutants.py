"""What the kill matrix is for: an issuer that loses or forgets what it had begun is found out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from harness.crash_operations import operation
from harness.crash_world import CrashWorld, check_after_death, die_in

from issuer.crash_points import CrashPoint

PATIENCE = 1.0
_MakeWorld = Callable[..., AbstractContextManager[CrashWorld]]


def found_out(make_world: _MakeWorld, mutant: str, name: str) -> str:
    """What the checks say after a death right behind the journal."""
    point = CrashPoint.REVOCATION_JOURNALLED
    with make_world(alterations=[mutant], patience=PATIENCE) as world:
        scene = die_in(world, operation(name), point)
        with pytest.raises((AssertionError, TimeoutError)) as raised:
            check_after_death(world, operation(name), point, scene)
    return str(raised.value)


@pytest.mark.parametrize("name", ["logout by refresh token", "gatepass sessions end SID"])
def test_an_end_that_is_not_journalled_is_found(make_world: _MakeWorld, name: str) -> None:
    """Mutant: without its row the session that was to end goes on."""
    assert "accepts a token that was revoked" in found_out(make_world, "no-journal", name)


@pytest.mark.parametrize("name", ["logout by refresh token", "gatepass revoke subject"])
def test_a_worker_that_completes_nothing_is_found(make_world: _MakeWorld, name: str) -> None:
    """Mutant: the row stays undone, for the worker of the next issuer or of the running one."""
    assert "without undone rows" in found_out(make_world, "no-completion", name)
