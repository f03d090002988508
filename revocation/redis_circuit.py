"""Fails fast while a Redis is down or slow, so that requests do not pile up waiting for it.

pybreaker, the usual library, holds its lock during the call that it guards, which would make
the threads of a process ask one after the other.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from weakref import WeakSet, WeakValueDictionary

import redis
from redis.cluster import RedisCluster
from redis.exceptions import ClusterError, RedisClusterException, ResponseError

from .jitter import jittered

FAILURES = 3
"""Failures in a row after which a server is not asked for a while."""
PAUSE = 1.0
"""Seconds until one call tries it again, give or take half: issuers must not come in one moment."""
SLOW = 1.0
"""Seconds; an answer that takes as long counts as a failure, since everybody waits for the next."""
PROBE = 5.0
"""Seconds after which a probe that nothing was heard of no longer keeps others from trying."""
_MOST_NODES = 100


class CircuitOpen(Exception):
    """The server has just failed several times; this call did not ask it."""


class Circuit:
    """Closed while the server answers; open for `PAUSE` after `FAILURES`; then one call probes.

    Threads share it; the lock is held for a few comparisons, never while anybody waits.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        _circuits.add(self)
        self._failures = 0
        self._retry_at = 0.0

    @contextmanager
    def asking(self, *, patient: bool = False) -> Iterator[None]:
        """Around one question. `patient` if it waits by its nature. Raises `CircuitOpen`."""
        self._enter()
        begun = self._clock()
        answered = True
        try:
            yield
        except (ResponseError, ClusterError):
            raise  # a refusal is an answer, also one that a slot is just being moved
        except (redis.RedisError, RedisClusterException, OSError):
            answered = False
            raise
        finally:
            self._note(answered=answered, slow=self._clock() - begun >= SLOW, patient=patient)

    def _enter(self) -> None:
        with self._lock:
            if self._failures < FAILURES:
                return
            now = self._clock()
            if now < self._retry_at:
                raise CircuitOpen
            # This call probes. The others wait for what it finds, but not for ever: its thread
            # may never come back.
            self._retry_at = now + PROBE

    def _note(self, *, answered: bool, slow: bool, patient: bool) -> None:
        with self._lock:
            if answered and not slow:
                self._failures = 0
                return
            # Waiting by its nature, it tells nothing about the server: neither sick nor well.
            if not answered or not patient:
                self._failures += 1
            self._retry_at = self._clock() + jittered(PAUSE)


_circuits: WeakSet[Circuit] = WeakSet()


def _unlock_in_child() -> None:
    # A thread of the parent may have held one at the moment of the fork.
    for circuit in list(_circuits):
        circuit._lock = threading.Lock()
    Circuits._lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock_in_child)


class Circuits:
    """A circuit for each server behind an address; a Cluster's nodes fail one by one."""

    # Weak, so that an address that nobody uses any more, with its password, is forgotten.
    _shared: ClassVar[WeakValueDictionary[str, Circuits]] = WeakValueDictionary()
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._by_node: dict[str, Circuit] = {}

    @classmethod
    def shared(cls, url: str) -> Circuits:
        """Those of an address: all who use it in this process learn from each other."""
        with cls._lock:
            found = cls._shared.get(url)
            if found is None:
                found = cls._shared[url] = cls()
            return found

    def of(self, client: Any, key: str) -> Circuit:
        """The circuit of the server that holds a key."""
        node = ""
        if isinstance(client, RedisCluster):
            try:
                found: Any = client.get_node_from_key(key)  # type: ignore[no-untyped-call]
                node = found.name if found is not None else ""
            except (RedisClusterException, redis.RedisError):
                node = ""  # nobody holds it just now
        if len(self._by_node) > _MOST_NODES:
            self._by_node.clear()  # nodes come and go under ever new names
        return self._by_node.setdefault(node, Circuit())
