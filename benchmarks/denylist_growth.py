"""How the denylist on Redis grows: memory, adding and looking up by size, and a bucket's expiry.

Beside the peers' pattern of one key for each revoked id, in the same server and run:
`python -m benchmarks.denylist_growth`.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import redis

from revocation import Denylist, Entry, Probe, open_denylist

from .material import claims, random_id
from .servers import BenchmarkError, RedisSocket, redis_server

SIZES = (1_000, 10_000, 100_000, 1_000_000)
_BATCH = 500
_SAMPLES = 300
_PEER = 1
_WIDTH = 60
"""Seconds of one bucket."""
_FILLING = 30.0
"""Seconds that filling a bucket may take."""
_EDGE = 2.0
"""Seconds before and after the end of a bucket in which answers are watched."""


@dataclass(frozen=True, slots=True)
class Line:
    """One size: bytes an entry, and microseconds for one, ours and the peer's."""

    entries: int
    size: float
    peer_size: float
    add: float
    peer_add: float
    lookup: float
    peer_lookup: float

    def __str__(self) -> str:
        return (
            f"| {self.entries:,} | {self.size:.0f} | {self.peer_size:.0f} | {self.add:.0f} |"
            f" {self.peer_add:.0f} | {self.lookup:.0f} | {self.peer_lookup:.0f} |"
        )


class Growth:
    """Fills both sides of one Redis, step by step."""

    def __init__(self, server: RedisSocket, lifetime: int) -> None:
        self._expires = spread_over(lifetime)
        self._client = server.client()
        self._peer = server.client(db=_PEER)
        self._denylist = open_denylist(server.url)
        self._denylist.initialise(0)
        self._denylist.mark_ready()
        self._salt = self._denylist.state().salt
        self._empty = self._used()
        self._sizes = (0.0, 0.0)
        self._count = 0

    def close(self) -> None:
        self._denylist.close()
        self._client.close()
        self._peer.close()

    def to(self, entries: int) -> Line:
        """Grow both sides to this many entries, and measure."""
        more = entries - self._count
        before = self._used()
        fill(self._denylist, more, self._expires)
        ours = self._used() - before
        fill_peer(self._peer, more, self._expires)
        peers = self._used() - before - ours
        self._count = entries
        self._sizes = (self._sizes[0] + ours, self._sizes[1] + peers)
        asked = [Probe.of(claims(), "kid", self._salt) for _ in range(_SAMPLES)]
        return Line(
            entries,
            self._sizes[0] / entries,
            self._sizes[1] / entries,
            each(
                lambda entry: self._denylist.add([entry]),
                [entry(self._expires()) for _ in range(_SAMPLES)],
            ),
            each(lambda key: self._peer.set(key, "", exat=int(self._expires())), ids()),
            each(self._denylist.lookup, asked),
            each(self._peer.get, ids()),
        )

    def _used(self) -> int:
        # The feed has a cap of its own, and is read from its end alone.
        self._client.xtrim("gatepass:{denylist}:feed", maxlen=1, approximate=False)
        info: Any = self._client.info("memory")
        return int(info["used_memory"])


def spread_over(lifetime: int) -> Callable[[], float]:
    """Ends of entries: over an access token's life, and none so soon that it is over meanwhile."""
    return lambda: time.time() + random.uniform(1, 2) * lifetime


def entry(expires: float) -> Entry:
    return Entry.session(random_id(), int(expires))


def ids() -> list[str]:
    return [random_id() for _ in range(_SAMPLES)]


def each(step: Callable[[Any], object], inputs: Sequence[Any]) -> float:
    """Microseconds for one, the median."""
    spent = []
    for item in inputs:
        begun = time.perf_counter()
        step(item)
        spent.append(time.perf_counter() - begun)
    return median(spent) * 1e6


def fill(denylist: Denylist, count: int, expires: Callable[[], float]) -> None:
    for start in range(0, count, _BATCH):
        denylist.add([entry(expires()) for _ in range(min(_BATCH, count - start))])


def fill_peer(client: redis.Redis, count: int, expires: Callable[[], float]) -> None:
    for start in range(0, count, _BATCH):
        pipeline = client.pipeline(transaction=False)
        for _ in range(min(_BATCH, count - start)):
            pipeline.set(random_id(), "", exat=int(expires()))
        pipeline.execute()


def longest_answer(client: redis.Redis, until: float) -> float:
    """The longest PING up to a moment, milliseconds."""
    longest = 0.0
    while time.time() < until:
        begun = time.perf_counter()
        client.ping()
        longest = max(longest, time.perf_counter() - begun)
    return longest * 1e3


def expiry(client: redis.Redis, fill_until: Callable[[int], None]) -> tuple[float, float]:
    """The longest answer in the seconds before and around the end of one full bucket."""
    end = (int(time.time() + _FILLING) // _WIDTH + 1) * _WIDTH
    fill_until(end)
    time.sleep(max(0.0, end - 2 * _EDGE - time.time()))
    return longest_answer(client, end - _EDGE), longest_answer(client, end + _EDGE)


def growth(directory: Path, entries: int, lifetime: int, say: Callable[[str], None]) -> list[str]:
    """Memory and time by size, as a markdown table."""
    lines = [
        "| entries | bytes each | peer's bytes | add, µs | SET, µs | look up, µs | GET, µs |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    with (
        redis_server(directory, fsync="everysec") as server,
        closing(Growth(server, lifetime)) as growing,
    ):
        for size in [*(size for size in SIZES if size < entries), entries]:
            say(f"growing to {size:,} entries")
            lines.append(str(growing.to(size)))
    return lines


def expiries(directory: Path, bucket: int, say: Callable[[str], None]) -> list[str]:
    """How long the server keeps others waiting while a whole bucket expires."""
    with (
        redis_server(directory, fsync="everysec") as server,
        closing(server.client()) as client,
        closing(open_denylist(server.url)) as denylist,
    ):
        denylist.initialise(0)
        denylist.mark_ready()
        say(f"waiting for a bucket of {bucket:,} entries to expire")
        ours = expiry(client, lambda end: fill(denylist, bucket, lambda: end))
        say(f"waiting for {bucket:,} keys to expire")
        peers = expiry(client, lambda end: fill_peer(client, bucket, lambda: end))
    return [
        "",
        f"Longest answer of the server while {bucket:,} entries expire in one moment:"
        f" {ours[1]:.1f} ms (before: {ours[0]:.1f} ms); with a key for each id"
        f" {peers[1]:.1f} ms (before: {peers[0]:.1f} ms).",
    ]


def _place() -> str:
    place = tempfile.gettempdir()
    return place if len(place) < 60 else "/tmp"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.denylist_growth", description=__doc__
    )
    parser.add_argument(
        "--entries", type=int, default=SIZES[-1], help="up to how many (a million, four minutes)"
    )
    parser.add_argument("--lifetime", type=int, default=300, help="of access tokens, seconds (300)")
    parser.add_argument(
        "--no-expiry", action="store_true", help="do not wait for a bucket to expire"
    )
    options = parser.parse_args(arguments)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="gp-bench-", dir=_place()) as name:
            places = [Path(name) / part for part in ("growth", "expiry")]
            for place in places:
                place.mkdir()
            lines = growth(places[0], options.entries, options.lifetime, say)
            if not options.no_expiry:
                lines += expiries(places[1], max(1, options.entries // 5), say)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
