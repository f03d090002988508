"""The scheduler: in step with the store, and unmoved when the store fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from keys import (
    DirectoryStore,
    InvalidPolicy,
    KeyRing,
    KeyRingError,
    KeyStoreError,
    NoRing,
    RotationPolicy,
    RotationScheduler,
    revoke,
    rotate,
)

POLICY = RotationPolicy(signing_period=1000, sealing_period=1000, refresh_lifetime=9000)
START = 1_000_000


class Memory:
    """A store in memory that can be told to fail."""

    def __init__(self) -> None:
        self.ring = KeyRing()
        self.fails: set[str] = set()
        self.updates = 0
        self.before_update: Callable[[], None] = lambda: None

    def load(self) -> KeyRing:
        self.fail("load")
        return self.ring

    def update(self, fn: Callable[[KeyRing], KeyRing]) -> KeyRing:
        self.fail("update")
        self.updates += 1
        self.before_update()
        self.ring = fn(self.ring)
        return self.ring

    def fail(self, what: str) -> None:
        if what in self.fails:
            raise KeyStoreError(Path("the-store"), f"{what} does not work")


class Clock:
    def __init__(self) -> None:
        self.now: float = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def seen() -> list[KeyRing]:
    return []


@pytest.fixture
def scheduler(memory: Memory, clock: Clock, seen: list[KeyRing]) -> RotationScheduler:
    return RotationScheduler(memory, POLICY, clock, on_change=seen.append)


def test_the_first_tick_makes_the_ring(
    scheduler: RotationScheduler, memory: Memory, seen: list[KeyRing]
) -> None:
    """An empty store gets its first ring, which is published once."""
    with pytest.raises(NoRing):
        _ = scheduler.ring
    with pytest.raises(NoRing):
        _ = scheduler.staleness
    scheduler.tick()
    assert scheduler.ring is memory.ring
    assert seen == [memory.ring]
    assert scheduler.ring.active("ES256").activated == START


def test_a_tick_with_nothing_due_writes_nothing(
    scheduler: RotationScheduler, memory: Memory, seen: list[KeyRing], clock: Clock
) -> None:
    """Between rotations the store is only read, and nobody is told of a change."""
    scheduler.tick()
    for _ in range(5):
        clock.now += 30
        scheduler.tick()
    assert memory.updates == 1
    assert len(seen) == 1


def test_it_rotates_when_that_is_due(
    scheduler: RotationScheduler, memory: Memory, seen: list[KeyRing], clock: Clock
) -> None:
    """Publishing the successor and promoting it each happen at their tick."""
    scheduler.tick()
    first = scheduler.ring.active("ES256")
    clock.now = START + 1000 - POLICY.lead + 0.9
    scheduler.tick()
    assert len(scheduler.ring.keys) == 4
    clock.now = START + 1000
    scheduler.tick()
    assert scheduler.ring.active("ES256").kid != first.kid
    assert [len(ring.keys) for ring in seen] == [2, 4, 4]
    assert memory.updates == 3


def test_it_takes_over_what_others_wrote(
    scheduler: RotationScheduler, memory: Memory, seen: list[KeyRing]
) -> None:
    """A key revoked by another process is gone here at the next tick."""
    scheduler.tick()
    stolen = scheduler.ring.active("ES256").kid
    memory.ring = revoke(memory.ring, stolen, START, POLICY)
    scheduler.tick()
    assert scheduler.ring is memory.ring
    assert len(seen) == 2
    assert stolen not in scheduler.ring.verification_keys()


def test_a_rotation_that_another_issuer_did_first_is_not_done_twice(
    scheduler: RotationScheduler, memory: Memory, clock: Clock
) -> None:
    """Under the store's lock the rotation is decided again, on the ring that is there then."""
    scheduler.tick()
    clock.now = START + 1000 - POLICY.lead

    def another_is_faster() -> None:
        memory.ring = rotate(memory.ring, int(clock.now), POLICY)

    memory.before_update = another_is_faster
    scheduler.tick()
    assert len(memory.ring.keys) == 4
    assert scheduler.ring is memory.ring


def test_a_key_is_dated_when_it_is_stored(
    scheduler: RotationScheduler, memory: Memory, clock: Clock
) -> None:
    """Waiting for the store's lock does not count as time for which a key was published."""
    scheduler.tick()
    clock.now = START + 1000 - POLICY.lead

    def wait_for_the_lock() -> None:
        clock.now += 8

    memory.before_update = wait_for_the_lock
    scheduler.tick()
    assert scheduler.ring.keys[-1].created == START + 1000 - POLICY.lead + 8


def test_the_last_good_ring_outlives_a_failing_store(
    scheduler: RotationScheduler,
    memory: Memory,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A load that fails keeps the ring, is logged, and shows as staleness until it works again."""
    scheduler.tick()
    ring = scheduler.ring
    assert scheduler.staleness == 0
    memory.fails = {"load"}
    clock.now += 45
    with caplog.at_level(logging.ERROR, logger="gatepass.keys"):
        scheduler.tick()
    assert scheduler.ring is ring
    assert scheduler.staleness == 45
    assert "the last one stays" in caplog.text
    assert "load does not work" in caplog.text
    memory.fails = set()
    scheduler.tick()
    assert scheduler.staleness == 0


def test_a_store_that_fails_for_long_is_told_once(
    scheduler: RotationScheduler, memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    """One line when it begins, one when it is over, and afresh the next time."""
    caplog.set_level(logging.INFO, "gatepass.keys")
    scheduler.tick()
    for _ in range(2):
        caplog.clear()
        memory.fails = {"load"}
        for _ in range(3):
            scheduler.tick()
        memory.fails = set()
        for _ in range(2):
            scheduler.tick()
        assert [record.message for record in caplog.records] == [
            "key ring not refreshed, the last one stays: the-store: load does not work",
            "key ring refreshed again",
        ]


def test_a_store_that_cannot_be_written_is_still_read(
    scheduler: RotationScheduler, memory: Memory, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Where only the update fails, what others wrote is published all the same."""
    scheduler.tick()
    memory.fails = {"update"}
    memory.ring = revoke(memory.ring, memory.ring.active("ES256").kid, START, POLICY)
    clock.now = START + 5000
    scheduler.tick()
    assert scheduler.ring is memory.ring
    assert scheduler.staleness == 0
    assert "update does not work" in caplog.text


def test_without_any_ring_a_failure_is_raised(scheduler: RotationScheduler, memory: Memory) -> None:
    """An issuer that has never read a ring does not start as though it had."""
    memory.fails = {"load"}
    for act in (scheduler.tick, scheduler.start):
        with pytest.raises(KeyStoreError):
            act()
    memory.fails = {"update"}
    with pytest.raises(KeyStoreError):
        scheduler.tick()


@pytest.mark.parametrize("when", ["load", "update"])
def test_a_store_that_became_empty_is_not_started_afresh(
    scheduler: RotationScheduler,
    memory: Memory,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    when: str,
) -> None:
    """A disk that is no longer mounted does not make a running issuer replace all keys."""
    scheduler.tick()
    ring = scheduler.ring
    clock.now += 1000

    def unmount() -> None:
        memory.ring = KeyRing()

    if when == "load":
        unmount()
    else:
        memory.before_update = unmount
    scheduler.tick()
    assert scheduler.ring is ring
    assert memory.ring == KeyRing()
    assert "has become empty" in caplog.text


def test_a_listener_that_fails_does_not_stop_the_scheduler(
    memory: Memory, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The ring is published before the listener is called, and its error is logged."""

    def failing(ring: KeyRing) -> None:
        if len(ring.keys) > 2:
            raise ZeroDivisionError

    scheduler = RotationScheduler(memory, POLICY, clock, on_change=failing)
    scheduler.tick()
    clock.now = START + 1000 - POLICY.lead
    scheduler.tick()
    assert len(scheduler.ring.keys) == 4
    assert "ZeroDivisionError" in caplog.text
    scheduler.tick()


def test_the_thread_ticks_until_it_is_stopped(memory: Memory) -> None:
    """The background thread reads the store again and again; stop waits for its end."""
    loads = threading.Semaphore(0)
    load = memory.load

    def counted() -> KeyRing:
        loads.release()
        return load()

    memory.load = counted  # type: ignore[method-assign]
    others = set(threading.enumerate())
    scheduler = RotationScheduler(memory, POLICY, lambda: START, interval=0.001)
    scheduler.start()
    scheduler.start()
    threads = [t for t in set(threading.enumerate()) - others if t.name == "gatepass-keys"]
    assert len(threads) == 1
    assert threads[0].daemon
    for _ in range(4):
        assert loads.acquire(timeout=60)
    scheduler.stop()
    scheduler.stop()
    assert not threads[0].is_alive()
    assert scheduler.ring is memory.ring
    scheduler.start()
    scheduler.stop()


@pytest.mark.parametrize("setting", ["publish_margin", "handover"])
def test_an_interval_that_the_policy_leaves_no_room_for_is_refused(
    memory: Memory, setting: str
) -> None:
    """An issuer may be a tick and a second late, so margin and handover must be longer."""
    RotationScheduler(memory, replace(POLICY, **{setting: 31}), interval=30.0)
    with pytest.raises(InvalidPolicy) as refused:
        RotationScheduler(memory, replace(POLICY, **{setting: 30}), interval=30.0)
    assert refused.value.setting == setting
    with pytest.raises(InvalidPolicy):
        RotationScheduler(memory, POLICY, interval=0)


def test_it_runs_on_a_directory(tmp_path: Path, clock: Clock) -> None:
    """Two schedulers on one directory end with one ring, whoever came first."""
    stores = [DirectoryStore(tmp_path / "keys", bytes(32)) for _ in range(2)]
    first, second = (RotationScheduler(store, POLICY, clock) for store in stores)
    first.tick()
    second.tick()
    assert first.ring == second.ring
    assert isinstance(first.ring, KeyRing)
    assert issubclass(NoRing, KeyRingError)
