"""How much is measured, and what the benchmarks share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from .servers import RedisSocket, redis_server
from .timing import Contender, Row, measure, rows


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. A count is operations in one round of one contender."""

    rounds: int
    slow: int
    """Count for what takes about 100 µs."""
    fast: int
    """Count for what takes a few µs."""
    entries: tuple[int, ...]
    """Denylist sizes for the check alone."""
    gateway_entries: tuple[int, ...]
    """Those of them at which the whole path of a gateway is timed too."""
    http_algorithms: tuple[str, ...]
    http_rounds: int
    http_seconds: float
    """Length of one round of one server."""
    accounts: int
    sessions: int
    """For each account."""

    @property
    def total_slow(self) -> int:
        """How many inputs a `slow` contender needs to see none twice."""
        return (self.rounds + 1) * self.slow


FULL = Scale(
    rounds=15,
    slow=200,
    fast=2000,
    entries=(10, 1_000, 100_000, 300_000),
    gateway_entries=(10, 100_000),
    http_algorithms=("ES256", "EdDSA"),
    http_rounds=9,
    http_seconds=2.0,
    accounts=4,
    sessions=64,
)
QUICK = Scale(
    rounds=3,
    slow=20,
    fast=100,
    entries=(10, 2_000),
    gateway_entries=(10, 2_000),
    http_algorithms=("ES256",),
    http_rounds=3,
    http_seconds=0.3,
    accounts=1,
    sessions=16,
)


@dataclass
class Lab:
    """One run: its scale, a private directory, and servers that start when first asked for."""

    scale: Scale
    directory: Path
    fsync: str
    """Redis' `appendfsync`."""
    stack: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def redis(self) -> RedisSocket:
        """One redis-server for everything."""
        self.say("starting redis-server")
        directory = self.directory / "redis"
        directory.mkdir()
        return self.stack.enter_context(redis_server(directory, fsync=self.fsync))

    def compare(
        self, group: str, case: str, contenders: Sequence[Contender], *, count: int | None = None
    ) -> list[Row]:
        """Time the contenders, ours first; `count` is the scale's `slow` one unless given."""
        self.say(case)
        timings = measure(contenders, rounds=self.scale.rounds, count=count or self.scale.slow)
        return rows(group, case, timings)

    def say(self, text: str) -> None:
        """Tell the progress on standard error."""
        print(f"benchmarks: {text}", file=sys.stderr, flush=True)
