"""The queue in front of password hashing: what it promises to whom, in every order of events."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from harness import stacks
from harness.issuer_app import CHEAP_HASHING, IssuerApp
from harness.processes import until
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from issuer.accounts import HashingBusy
from issuer.accounts.hashing_queue import MEMORY, MOST_REMEMBERED, FairQueue, _Waiter

FLOODER = "192.0.2.{}"
"""Hosts of one network."""
OTHER = "198.51.100.1"


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Crowd:
    """Those who came to a queue, and what became of them; each event is held against the rules."""

    queue: FairQueue
    clock: Clock
    running: int
    waiting: int
    holding: list[str] = field(default_factory=list)
    lines: list[tuple[str, _Waiter]] = field(default_factory=list)
    turns_since: dict[str, list[str]] = field(default_factory=dict)
    """For each network that waits: whose turns came since it began to."""

    def length(self, network: str) -> int:
        return sum(1 for name, _ in self.lines if name == network)

    def arrive(self, network: str) -> None:
        before = {name: self.length(name) for name, _ in self.lines}
        full = len(self.lines) >= self.waiting
        try:
            waiter = self.queue._arrive(network)
        except HashingBusy:
            assert full, "refused though there was room"
            # Nobody has more than the newcomer would: it loses nothing to a flood.
            assert all(count <= self.length(network) + 1 for count in before.values())
            return
        if waiter.admitted:
            assert not self.lines, "it overtook those who wait"
            self.holding.append(network)
        else:
            self.lines.append((network, waiter))
            self.turns_since.setdefault(network, [])
        for name, other in [item for item in self.lines if item[1].called.is_set()]:
            assert full, "sent away though there was room"
            assert before[name] >= before.get(network, 0) + 1, "sent away by one who has as much"
            with pytest.raises(HashingBusy):
                self.queue._settle(name, other)
            self.forget(name, other)

    def leave(self) -> None:
        if not self.holding:
            return
        self.holding.pop(0)
        self.queue._leave(0.05)
        called = [item for item in self.lines if item[1].called.is_set()]
        assert len(called) == (1 if self.lines else 0), "a turn was lost, or given twice"
        for network, waiter in called:
            self.queue._settle(network, waiter)
            for name, turns in self.turns_since.items():
                if name != network:
                    assert network not in turns, f"{network} had two turns while {name} waited"
                    turns.append(network)
            self.holding.append(network)
            self.turns_since[network] = []
            self.forget(network, waiter)

    def expire(self, index: int) -> None:
        if not self.lines:
            return
        network, waiter = self.lines[index % len(self.lines)]
        with pytest.raises(HashingBusy):
            self.queue._settle(network, waiter)
        self.forget(network, waiter)

    def forget(self, network: str, waiter: _Waiter) -> None:
        self.lines.remove((network, waiter))
        if not self.length(network):
            self.turns_since.pop(network, None)

    def check(self) -> None:
        assert len(self.holding) <= self.running, "too many at once"
        assert len(self.lines) <= self.waiting, "too many wait"
        assert len(self.holding) == self.running or not self.lines, "a turn is free, and some wait"
        assert self.queue._length == len(self.lines)
        assert self.queue._free == self.running - len(self.holding), "a turn got lost"


EVENTS = st.one_of(
    st.tuples(st.just("arrive"), st.integers(0, 3)),
    st.tuples(st.just("arrive"), st.just(0)),
    st.tuples(st.just("leave"), st.just(0)),
    st.tuples(st.just("expire"), st.integers(0, 9)),
    st.tuples(st.just("pass"), st.integers(0, 30)),
)


def holds(kind: type[FairQueue], examples: int) -> None:
    """Try a queue; AssertionError for the first order of events in which it breaks a promise."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    @given(st.integers(1, 3), st.integers(0, 5), st.lists(EVENTS, min_size=30, max_size=60))
    def tried(running: int, waiting: int, events: list[tuple[str, int]]) -> None:
        clock = Clock()
        queue = kind(running=running, waiting=waiting, patience=1, clock=clock)
        crowd = Crowd(queue, clock, running, waiting)
        for what, number in events:
            if what == "arrive":
                crowd.arrive(f"network {number}")
            elif what == "leave":
                crowd.leave()
            elif what == "expire":
                crowd.expire(number)
            else:
                clock.now += number
            crowd.check()
        while crowd.holding:
            crowd.leave()
        assert queue._free == running
        assert not queue._lines

    tried()


def test_the_queue_keeps_its_promises() -> None:
    """Bounded, never idle while some wait, one turn a network, and no room lost to a flood."""
    holds(FairQueue, 200)


class FirstComeFirstServed(FairQueue):
    """Networks are not told apart."""

    def _arrive(self, network: str) -> _Waiter:
        return super()._arrive("")

    def _settle(self, network: str, waiter: _Waiter) -> None:
        super()._settle("", waiter)


class KeepsItsRoom(FairQueue):
    """Whoever is in the queue stays there."""

    def _make_room(self, network: str) -> None:
        raise self._busy()


class OneLineToItsEnd(FairQueue):
    """A network whose turn it is has all of them."""

    def _leave(self, took: float) -> None:
        first = next(iter(self._lines), None)
        super()._leave(took)
        if first in self._lines:
            self._lines = {first: self._lines.pop(first), **self._lines}


class SendsAnybodyAway(FairQueue):
    """A newcomer takes the first place, whosever it is."""

    def _make_room(self, network: str) -> None:
        if not self._lines:
            raise self._busy()
        first = next(iter(self._lines))
        waiter = self._lines[first][-1]
        self._remove(first, waiter)
        waiter.called.set()


class ForgetsToLeave(FairQueue):
    """Whoever gave up still stands in line, and is given a turn."""

    def _settle(self, network: str, waiter: _Waiter) -> None:
        if not waiter.called.is_set():
            raise self._busy()
        super()._settle(network, waiter)


class Endless(FairQueue):
    """It has no bound."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "waiting": 1000})


class LosesTurns(FairQueue):
    """A turn that nobody waits for is not given back now and then."""

    def _leave(self, took: float) -> None:
        super()._leave(took)
        self._free = min(self._free, 1)


@pytest.mark.parametrize(
    "mutant",
    [
        FirstComeFirstServed,
        KeepsItsRoom,
        OneLineToItsEnd,
        SendsAnybodyAway,
        ForgetsToLeave,
        Endless,
        LosesTurns,
    ],
)
def test_a_queue_with_a_flaw_is_caught(mutant: type[FairQueue]) -> None:
    """The rules above tell each of these from the real one."""
    with pytest.raises(AssertionError):
        holds(mutant, 200)


def test_who_had_few_turns_of_late_gets_in() -> None:
    """With every place taken by another network each, the one that had most turns gives way."""
    clock = Clock()
    queue = FairQueue(running=1, waiting=2, patience=1, clock=clock)
    queue._arrive("a")
    for name in "ab" * 10:  # both keep the queue full
        queue._arrive(name)
        queue._leave(0.01)
    waiters = {name: queue._arrive(name) for name in "ab"}
    newcomer = queue._arrive("c")
    assert [waiters[name].called.is_set() for name in "ab"].count(True) == 1
    queue._leave(0.01)
    queue._leave(0.01)
    assert newcomer.admitted
    # It is remembered for a while, and forgotten.
    assert queue._turns_of("a", clock.now) > 5
    assert queue._turns_of("a", clock.now + 10 * MEMORY) < 0.1


def test_what_is_remembered_is_bounded() -> None:
    """Ten thousand networks, one after the other, leave no more than so many behind."""
    queue = FairQueue(running=1, waiting=1, patience=1)
    for number in range(10_000):
        queue._arrive(str(number))
        queue._leave(0)
    assert len(queue._turns) <= MOST_REMEMBERED


def test_the_time_to_come_back_is_that_of_those_ahead() -> None:
    """`retry_after` grows with the queue and with what a turn takes."""
    queue = FairQueue(running=1, waiting=4, patience=1)
    for _ in range(100):
        queue._arrive("a")
        queue._leave(2.0)
    for _ in range(5):
        queue._arrive("a")
    with pytest.raises(HashingBusy) as busy:
        queue._arrive("a")
    assert busy.value.retry_after in {10, 11}


def test_a_flood_of_threads_delays_itself_alone() -> None:
    """Among two hundred threads of one network another's is next but one; who waits sleeps."""
    queue = FairQueue(running=1, waiting=8, patience=30)
    order: deque[str] = deque()
    refused: deque[str] = deque()
    spent: deque[float] = deque()

    def hash_one(source: str) -> None:
        began = time.thread_time()
        try:
            with queue.turn(source):
                spent.append(time.thread_time() - began)
                order.append(source)
        except HashingBusy:
            refused.append(source)

    gate = queue.turn(FLOODER.format(1))
    gate.__enter__()
    threads = [
        threading.Thread(target=hash_one, args=(FLOODER.format(number % 250),))
        for number in range(200)
    ]
    threads.append(threading.Thread(target=hash_one, args=(OTHER,)))
    for thread in threads:
        thread.start()
    for _ in until(10, "all but those who wait are told"):
        if len(refused) == 193:
            break
    gate.__exit__(None, None, None)
    for thread in threads:
        thread.join(10)
    assert OTHER in list(order)[:2]
    assert len(order) == 8
    assert OTHER not in refused
    assert max(spent) < 0.02


@stacks.anywhere
@pytest.mark.parametrize("threads", [1, 2, 4, 8])
def test_half_of_the_threads_never_hash(
    make_issuer: Callable[..., IssuerApp], threads: int
) -> None:
    """Those who wait have threads of their own, and half of the others are left."""
    issuer = make_issuer(threads=threads, hashing={**CHEAP_HASHING, "waiting": 3})
    queue = issuer.services.accounts._hasher._queue
    at_most = queue._running + queue._waiting
    assert issuer.services.settings.all_threads - at_most >= threads // 2


def test_patience_ends() -> None:
    """Who waited for long enough is told so, and leaves nothing behind."""
    queue = FairQueue(running=1, waiting=1, patience=0.01)
    with queue.turn(OTHER):
        with pytest.raises(HashingBusy), queue.turn(OTHER):
            raise AssertionError("two turns at once")
        assert not queue._lines
    with queue.turn(OTHER):
        pass
