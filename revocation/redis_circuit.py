"""Fails fast while a Redis is down or slow, so that requests do not pile up waiting for it.

pybreaker, the usual library, holds its lock during the call that it guards, which would make
the threads of a process ask one after the other.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import redis
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, ResponseError

FAILURES = 3
"""Failures in a row after which a server is not asked for a while."""
PAUSE = 1.0
"""Seconds until one call tries it again, give or take half: issuers must not come in one moment."""
SLOW = 1.0
"""Seconds; an answer that takes as long counts as a failure, since everybody waits for the next."""


class CircuitOpen(Exception):
    """The server has just failed several times; this call did not ask it."""


class Circuit:
    """Closed while the server answers; open for `PAUSE` after `FAILURES`; then one call probes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._retry_at = 0.0
        self._probe = threading.Lock()

    @contextmanager
    def asking(self, *, patient: bool = False) -> Iterator[None]:
        """Around one question. `patient` if it waits by its nature. Raises `CircuitOpen`."""
        probing = self._enter()
        begun = self._clock()
        answered = True
        try:
            yield
        except ResponseError:
            raise  # a refusal is an answer
        except (redis.RedisError, RedisClusterException, OSError):
            answered = False
            raise
        finally:
            in_time = patient or self._clock() - begun < SLOW
            self._note(well=answered and in_time)
            if probing:
                self._probe.release()

    def _enter(self) -> bool:
        if self._failures < FAILURES:
            return False
        if self._clock() < self._retry_at or not self._probe.acquire(blocking=False):
            raise CircuitOpen
        return True

    def _note(self, *, well: bool) -> None:
        if well:
            self._failures = 0
            return
        self._failures += 1
        self._retry_at = self._clock() + PAUSE * random.uniform(0.5, 1.5)  # noqa: S311 - jitter


class Circuits:
    """A circuit for each server behind an address; a Cluster's nodes fail one by one."""

    _shared: ClassVar[dict[str, Circuits]] = {}

    def __init__(self) -> None:
        self._by_node: dict[str, Circuit] = {}

    @classmethod
    def shared(cls, url: str) -> Circuits:
        """Those of an address: all who use it in this process learn from each other."""
        return cls._shared.setdefault(url, cls())

    def of(self, client: Any, key: str) -> Circuit:
        """The circuit of the server that holds a key."""
        node = ""
        if isinstance(client, RedisCluster):
            try:
                found: Any = client.get_node_from_key(key)  # type: ignore[no-untyped-call]
                node = found.name if found is not None else ""
            except (RedisClusterException, redis.RedisError):
                node = ""  # nobody holds it just now
        return self._by_node.setdefault(node, Circuit())
