"""Family stores to test: each in memory and on a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count

import pytest
from harness.family_session import Session, StartSession
from harness.millisecond_clock import MillisecondClock
from harness.redis_server import RedisServer
from harness.rotation_machine import DEFAULT

from issuer.families import FamilyStore, RotationRules
from issuer.families.memory_families import MemoryFamilies
from issuer.families.redis_families import RedisFamilies
from revocation.redis_client import connect

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


_namespaces = count()


@pytest.fixture(scope="session")
def _open_cluster(redis_cluster_url: str) -> Iterator[OpenStore]:
    with closing(connect(redis_cluster_url)) as client:
        yield lambda rules, clock: RedisFamilies(
            client, rules, namespace=f"test-{next(_namespaces)}", clock=clock
        )


@pytest.fixture(params=["memory", "redis", "cluster"])
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    """Opens empty stores of one kind; whatever uses this runs on each kind."""
    return _opener(request)


@pytest.fixture(params=["memory", "redis"])
def open_near_store(request: pytest.FixtureRequest) -> OpenStore:
    """The same for each implementation, for what does not depend on the connection."""
    return _opener(request)


def _opener(request: pytest.FixtureRequest) -> OpenStore:
    if request.param == "memory":
        return lambda rules, clock: MemoryFamilies(rules, clock=clock)
    name = "open_redis" if request.param == "redis" else "_open_cluster"
    opened: OpenStore = request.getfixturevalue(name)
    return opened


@pytest.fixture
def start(open_store: OpenStore) -> StartSession:
    """Starts a session at generation 1."""

    def started(rules: RotationRules = DEFAULT) -> Session:
        return Session(open_store, rules)

    return started
