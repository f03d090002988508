"""Every kind of denylist, empty for each test, and its HTTP feed with somebody in between."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.denylists import HandClock, Store
from harness.feed_between import Between
from harness.feed_server import HttpStore, serving
from harness.other_servers import valkey
from harness.redis_server import RedisServer

from revocation import Denylist
from revocation.http_denylist import HttpDenylist
from revocation.memory_denylist import MemoryDenylist

ADDRESSES = {
    "memory": lambda request: "memory://tests",
    "redis": lambda request: (
        request.getfixturevalue("redis_url") and request.getfixturevalue("redis_server").tcp_url
    ),
    "unix": lambda request: request.getfixturevalue("redis_url"),
    "rediss": lambda request: request.getfixturevalue("rediss_server").url,
    "valkey": lambda request: request.getfixturevalue("valkey_url"),
    "cluster": lambda request: request.getfixturevalue("redis_cluster_url"),
    "http": lambda request: "memory://tests",
    "http-redis": lambda request: request.getfixturevalue("redis_url"),
}


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The address of a Valkey; stores take a namespace each."""
    with RedisServer(tcp=True, binary=valkey()) as server:
        yield server.tcp_url


def make(request: pytest.FixtureRequest) -> Iterator[Store]:
    url = ADDRESSES[request.param](request)
    kind = HttpStore if request.param.startswith("http") else Store
    store = kind(request.param, url, *((1,) if url.startswith("memory:") else ())).fresh()
    yield store
    store.close()


@pytest.fixture(params=ADDRESSES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty denylist store of each kind that a URL can name."""
    yield from make(request)


@pytest.fixture(params=["memory", "unix", "http"])
def near_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store of each implementation, for what does not depend on the connection."""
    yield from make(request)


@pytest.fixture(params=["unix"])
def redis_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store on Redis."""
    yield from make(request)


@pytest.fixture
def clock() -> HandClock:
    """A clock moved by hand."""
    return HandClock()


@pytest.fixture
def denylist() -> MemoryDenylist:
    """A ready denylist that an issuer writes to."""
    made = MemoryDenylist()
    made.initialise(watermark=0)
    made.mark_ready()
    return made


@pytest.fixture
def attacked(denylist: Denylist) -> Iterator[tuple[Between, Denylist, HttpDenylist]]:
    """A feed behind a proxy that is not to be trusted."""
    between = Between()
    with serving(denylist, between=between) as server:
        feed = server.open()
        assert isinstance(feed, HttpDenylist)
        yield between, denylist, feed
        between.held = False
        feed.close()
