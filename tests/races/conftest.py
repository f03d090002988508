"""Fleets of real issuers: `gatepass serve` on PostgreSQL and a Redis of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from harness.issuer_process import IssuerFleet
from harness.redis_server import RedisServer


@pytest.fixture
def make_fleet(
    postgres_url: str, private_redis: RedisServer, tmp_path: Path
) -> Iterator[Callable[..., IssuerFleet]]:
    """Starts issuers that share PostgreSQL, Redis and keys; once for a test."""
    with ExitStack() as stack:

        def make(**options: Any) -> IssuerFleet:
            options.setdefault("database_url", postgres_url)
            options.setdefault("directory", tmp_path / "fleet")
            return stack.enter_context(IssuerFleet(redis_url=private_redis.unix_url, **options))

        yield make
