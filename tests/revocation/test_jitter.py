"""Who waits for a Redis or an issuer to come back does not come back together with all others."""

from __future__ import annotations

import fcntl
import secrets
import shutil
from collections.abc import Sequence
from threading import Event

import pytest
from harness.denylists import HandClock, Store
from harness.processes import short_directory

from revocation import Replica, follower, redis_client, shared_follower
from revocation.redis_circuit import FAILURES, PAUSE, Circuit

ROUNDS = 20


class Noted(Event):
    """Notes for how long it is waited for, waits for nobody, and is set in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        if len(self.waits) == ROUNDS:
            self.set()
        return self.is_set()


def are_jittered(waits: Sequence[float], steady: Sequence[float]) -> None:
    """They differ, and each is its steady one give or take half."""
    factors = [wait / each for wait, each in zip(waits, steady, strict=True)]
    assert len(factors) == ROUNDS
    assert all(0.5 <= factor <= 1.5 for factor in factors)
    assert len({round(factor, 6) for factor in factors}) > ROUNDS / 2


def waits_of_a_follower(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of one whose denylist has no epoch yet."""
    part = Replica(store.open())._follower
    assert isinstance(part, follower.Follower)
    noted = Noted()
    monkeypatch.setattr(part, "_stopping", noted)
    part._follow()
    return noted.waits


def waits_of_a_standby(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of a process while another one follows."""
    directory = short_directory("gp-shared-")
    part = Replica(store.open(), shared=directory / "replica")._follower
    assert isinstance(part, shared_follower.SharedFollower)
    noted = Noted()
    monkeypatch.setattr(part, "_stopping", noted)
    with (directory / "replica.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        part._run()
    shutil.rmtree(directory)
    return noted.waits


def waits_of_circuits(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of processes that see one server fail in one moment."""
    clock = HandClock()
    circuits = [Circuit(clock) for _ in range(ROUNDS)]
    for circuit in circuits:
        for _ in range(FAILURES):
            circuit._note(answered=False, slow=False, patient=False)
    return [circuit._retry_at - clock.now for circuit in circuits]


def waits_of_a_client(_: Store, __: pytest.MonkeyPatch) -> list[float]:
    """Between two attempts at one command."""
    pool = redis_client.connect("redis://127.0.0.1:1").connection_pool
    backoff = pool.connection_kwargs["retry"]._backoff
    return [backoff.compute(number) for number in range(ROUNDS)]


BACKOFFS = [min(0.05 * 2**number, 2.0) for number in range(ROUNDS)]
WAYS = {
    "follower": (waits_of_a_follower, BACKOFFS),
    "standby": (waits_of_a_standby, [0.25] * ROUNDS),
    "circuit": (waits_of_circuits, [PAUSE] * ROUNDS),
    "client": (waits_of_a_client, [min(0.01 * 2**number, 0.15) for number in range(ROUNDS)]),
}


@pytest.mark.parametrize("near_store", ["memory"], indirect=True)
@pytest.mark.parametrize("way", WAYS)
def test_nobody_comes_back_together(
    near_store: Store, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Twenty waits differ by up to half of each; a mutant without jitter is found out."""
    waits_of, steady = WAYS[way]
    are_jittered(waits_of(near_store, monkeypatch), steady)
    monkeypatch.setattr(secrets, "randbelow", lambda most: most // 2)
    with pytest.raises(AssertionError):
        are_jittered(waits_of(near_store, monkeypatch), steady)
