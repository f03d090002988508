"""Family stores to test: each in memory and on a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from harness.millisecond_clock import MillisecondClock
from harness.redis_server import RedisServer

from issuer.families import FamilyStore, RotationRules
from issuer.families.memory_families import MemoryFamilies
from issuer.families.redis_families import RedisFamilies

OpenStore = Callable[[RotationRules, MillisecondClock], FamilyStore]
OpenRedis = Callable[..., RedisFamilies]


@pytest.fixture(scope="session")
def _quick_redis() -> Iterator[RedisServer]:
    # The rules are under test here, not durability; a sync to disk for every step would be most
    # of the time.
    with RedisServer(config={"appendonly": "no"}) as server:
        yield server


@pytest.fixture
def open_redis(_quick_redis: RedisServer) -> OpenRedis:
    """Opens empty stores on one Redis; `scripts` and the like go to RedisFamilies."""
    _quick_redis.reset()
    client = _quick_redis.client()
    numbers = count()

    def opened(
        rules: RotationRules,
        clock: MillisecondClock,
        scripts: Callable[[str], str] | None = None,
    ) -> RedisFamilies:
        namespace = f"test-{next(numbers)}"
        return RedisFamilies(client, rules, namespace=namespace, clock=clock, scripts=scripts)

    return opened


@pytest.fixture(params=["memory", "redis"])
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    """Opens empty stores of one kind; whatever uses this runs on each kind."""
    if request.param == "redis":
        opened: OpenStore = request.getfixturevalue("open_redis")
        return opened
    return lambda rules, clock: MemoryFamilies(rules, clock=clock)
