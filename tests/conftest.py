"""Real servers for every test: one of each for a session, made as good as new for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from harness import late_grammars
from harness.postgres_server import PostgresServer
from harness.redis_cluster import RedisCluster
from harness.redis_server import RedisServer
from harness.warm_process import end_warm
from hypothesis import settings

from revocation import redis_circuit, redis_client

pytest_plugins = ["harness.leak_hunt"]

late_grammars.put_off()  # before whatever imports jsonschema

# No test fails for being slow: a machine may be busy, or stand still for a moment.
settings.register_profile("unhurried", settings.default, deadline=None)
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    """Let coverage, when it is on, also count the Python programs that tests start."""
    if config.pluginmanager.hasplugin("_cov") and config.getoption("cov_source", None):
        # coverage installs a .pth file that starts it in whoever sees the first of these two.
        os.environ["COVERAGE_PROCESS_START"] = str(config.rootpath / "pyproject.toml")
        os.environ["COVERAGE_FILE"] = str(config.rootpath / ".coverage")


LONG = ("test_soak.py", "spa", "faults", "races", "benchmarks", "crashes", "upgrades", "project")
"""Files and folders of which one test may take a minute, the longest first."""
BETWEEN = 4
"""Other files after each of them: at once they would be more than a small machine can carry."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, or a long file that comes last runs alone at the end."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)

    def place(path: Path) -> int:
        return next((at for at, part in enumerate(LONG) if part in path.parts), len(LONG))

    ordered = sorted(files, key=place)
    long = [path for path in ordered if place(path) < len(LONG)]
    others = iter(ordered[len(long) :])
    spread = [each for path in long for each in (path, *islice(others, BETWEEN))]
    items[:] = [item for path in (*spread, *others) for item in files[path]]


@pytest.fixture(scope="session", autouse=True)
def _warm() -> Iterator[None]:
    """End what servers and commands were forked from, after whatever they are."""
    yield
    end_warm()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One redis-server on a unix socket and a loopback port; `redis_url` hands it out empty."""
    with RedisServer(tcp=True) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The unix-socket URL of a Redis without data, whatever the last test did to it."""
    redis_server.reset()
    return redis_server.unix_url


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """For many threads that ask Redis at once: however long each waits, it gets its answer.

    A process that stands still takes Redis for a slow one, and its circuit opens.
    """
    for module, name in (
        (redis_client, "CONNECT_TIMEOUT"),
        (redis_client, "ANSWER_TIMEOUT"),
        (redis_circuit, "SLOW"),
    ):
        monkeypatch.setattr(module, name, 60.0)


@pytest.fixture
def private_redis() -> Iterator[RedisServer]:
    """A redis-server of the test's own, to kill, pause or reconfigure."""
    with RedisServer(tcp=True) as server:
        yield server


@pytest.fixture(scope="session")
def _rediss() -> Iterator[RedisServer]:
    with RedisServer(tls=True) as server:
        yield server


@pytest.fixture
def rediss_server(_rediss: RedisServer) -> RedisServer:
    """An empty redis-server behind TLS; its `url` names the authority to trust."""
    _rediss.reset()
    return _rediss


@pytest.fixture(scope="session")
def redis_cluster_url() -> Iterator[str]:
    """The address of a Cluster that nobody breaks; whoever uses it takes a namespace of its own."""
    with RedisCluster() as cluster:
        yield cluster.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL server; `postgres_url` hands out databases on it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database of the test's own."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The top of the tree that these tests belong to."""
    return Path(__file__).resolve().parent.parent
