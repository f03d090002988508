"""Gateways beside real issuers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness.bound import Bound, MakeBound
from harness.forward_auth import ForwardAuthService, RealGateway
from harness.gatepass_command import Gatepass
from harness.gateway_world import World, gateway_world
from harness.issuer_process import IssuerFleet
from harness.redis_server import RedisServer
from harness.token_source import TokenSource
from harness.warm_process import warm


@pytest.fixture(scope="session")
def gatepass() -> Gatepass:
    """Runs `gatepass` commands quickly."""
    return warm()


@pytest.fixture
def make_bound(tmp_path: Path) -> Iterator[MakeBound]:
    """Makes an issuer on the Redis at an address."""
    with ExitStack() as stack:

        def make(redis_url: str) -> Bound:
            fleet = IssuerFleet(
                f"sqlite:///{tmp_path}/issuer.db",
                redis_url,
                tmp_path / "fleet",
                size=1,
                settings={"GATEPASS_WORKERS": "1"},
            )
            return Bound(stack.enter_context(fleet), tmp_path)

        yield make


@pytest.fixture(scope="session")
def source_redis() -> Iterator[RedisServer]:
    """The redis-server of `source`, which whoever pauses it resumes."""
    with RedisServer(tcp=True) as server:
        yield server


@pytest.fixture(scope="session")
def source(source_redis: RedisServer) -> Iterator[TokenSource]:
    """Where tokens come from."""
    with TokenSource(source_redis.unix_url) as running:
        yield running.serve()


@pytest.fixture(scope="session")
def service(source: TokenSource) -> Iterator[ForwardAuthService]:
    """One forward-auth service, in step, which nobody stops, nor a busy machine."""
    options = ["--max-staleness", "15", "--log-requests", "all"]
    with ForwardAuthService(source.url, source.denylist_url, *options) as running:
        yield running.wait_ready()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One for all gateways, and for all that is altered in their pages."""
    with gateway_world() as made:
        yield made


@pytest.fixture(scope="module", params=["nginx", "caddy", "envoy", "traefik"])
def gateway(
    request: pytest.FixtureRequest, world: World, project_root: Path
) -> Iterator[RealGateway]:
    """Each real gateway, on its documented configuration."""
    docs, directory = project_root / "docs", world.directory
    with RealGateway(
        request.param, docs, directory, service=world.line.port, backend=world.backend.port
    ) as running:
        yield running
