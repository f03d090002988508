"""Threads that race with one token: one of them rotates, all get the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from uuid import uuid4

import pytest
from harness.millisecond_clock import MillisecondClock
from harness.rotation_machine import DEFAULT, STRICT

from issuer.families import (
    Current,
    FamilyStore,
    Gone,
    NewFamily,
    RefreshReuseDetected,
    Repeated,
    Resent,
    RetriedLate,
    Rotated,
    RotationOutcome,
    RotationRules,
    Status,
    open_families,
)

pytestmark = pytest.mark.usefixtures("unhurried")

RACERS = 100


@pytest.fixture(params=["memory", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    """A store with its durability as in production."""
    if request.param == "redis":
        redis_url: str = request.getfixturevalue("redis_url")
        return redis_url
    return f"memory://{uuid4().hex}"


@contextmanager
def opened(url: str, rules: RotationRules, clock: MillisecondClock | None) -> Iterator[FamilyStore]:
    store = open_families(url, rules, clock=clock)
    yield store
    store.close()


def log_in(store: FamilyStore, clock: MillisecondClock) -> None:
    now = clock.ms // 1000
    store.create(
        NewFamily(
            sub="ann",
            sid="one",
            client_id="web",
            credential_version=1,
            auth_time=now,
            amr=("pwd",),
            scope="",
            idle=1800,
            absolute_end=now + 43_200,
        )
    )


def race(store: FamilyStore, gens: list[int]) -> list[RotationOutcome]:
    """One thread for each generation, all at once."""
    barrier = Barrier(len(gens))

    def present(gen: int) -> RotationOutcome:
        barrier.wait()
        return store.rotate("ann", "one", gen, credential_version=1)

    with ThreadPoolExecutor(len(gens)) as pool:
        return list(pool.map(present, gens))


def kinds(outcomes: list[RotationOutcome]) -> Counter[type]:
    return Counter(type(outcome) for outcome in outcomes)


def test_a_hundred_rotations_of_one_token_make_one_successor(url: str) -> None:
    """One rotates, 99 get its result again, and nobody is logged out; three times over."""
    clock = MillisecondClock()
    with opened(url, DEFAULT, clock) as store:
        log_in(store, clock)
        for gen in (1, 2, 3):
            clock.wait(60)
            outcomes = race(store, [gen] * RACERS)
            assert kinds(outcomes) == {Rotated: 1, Resent: RACERS - 1}
            assert {outcome.family.gen for outcome in outcomes if outcome.family} == {gen + 1}
        family = store.get("ann", "one")
        assert family is not None
        assert (family.gen, family.status) == (4, Status.LIVE)


def test_parent_and_child_race_to_one_current_generation(url: str) -> None:
    """Fifty tabs with the token and fifty with its successor, within the interval."""
    clock = MillisecondClock()
    with opened(url, DEFAULT, clock) as store:
        log_in(store, clock)
        clock.wait(60)
        store.rotate("ann", "one", 1, credential_version=1)
        outcomes = race(store, [1, 2] * (RACERS // 2))
        assert kinds(outcomes) == {Resent: RACERS // 2, Repeated: RACERS // 2}
        assert {outcome.family.gen for outcome in outcomes if outcome.family} == {2}


def test_a_race_by_the_stores_own_clock_makes_one_successor(url: str) -> None:
    """Without an injected clock too: one rotates, for the others its answer was lost."""
    clock = MillisecondClock()
    with opened(url, RotationRules(reuse_interval=0), None) as store:
        log_in(store, clock)
        outcomes = race(store, [1] * RACERS)
        assert kinds(outcomes) == {Rotated: 1, RetriedLate: RACERS - 1}
        assert all(isinstance(o, Current) and o.family.gen == 2 for o in outcomes)


def test_under_strict_single_use_a_race_is_reuse_once(url: str) -> None:
    """One rotates, one is found out, the rest come to an ended family."""
    clock = MillisecondClock()
    with opened(url, STRICT, clock) as store:
        log_in(store, clock)
        outcomes = race(store, [1] * RACERS)
        assert kinds(outcomes) == {Rotated: 1, RefreshReuseDetected: 1, Gone: RACERS - 2}
