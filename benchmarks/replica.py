"""What a replica costs: a check by size, memory, loading, and the processes of one host.

`./run bench --only replica` times the check alone; `python -m benchmarks.replica` all of it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from revocation import Candidate, Denylist, Entry, Record, Replica, open_denylist
from revocation.packed_copy import PackedCopy
from revocation.packed_table import size_of
from revocation.shared_reader import SharedReader
from revocation.table_storage import SharedFile

from .lab import Lab
from .material import claims, random_id
from .plot import line_chart
from .servers import BenchmarkError, redis_server
from .timing import Contender, Row, Timing, measure, rows

REPLICA = "replica"
MOST = 1_000_000
WORKERS = (1, 2, 4, 8)
_KID = random_id()
_TOKENS = 1_000
_ROUNDS = 100
_BATCH = 1_000
_OWNER = bytes(16)
_FOR_EVER = 1e9
"""A staleness that no benchmark reaches, seconds."""


def records(count: int) -> list[Record]:
    """Sessions that nobody has."""
    expires = int(time.time()) + 3_600
    return [Record(b"s" + secrets.token_bytes(16), 1, expires) for _ in range(count)]


def holding(count: int) -> Replica:
    """A replica in step that holds so many entries."""
    replica = Replica(open_denylist("memory://bench-replica"), max_staleness=_FOR_EVER)
    copy = replica._copy
    assert isinstance(copy, PackedCopy)
    copy.begin(secrets.token_bytes(32))
    copy.merge(records(count))
    copy.vouch(time.clock_gettime(time.CLOCK_BOOTTIME))
    return replica


# --- the check ---------------------------------------------------------------------------------


def _check_again(replica: Replica) -> Callable[[Any], object]:
    return replica.check_candidate


def _look_up_again(replica: Replica) -> Callable[[Any], object]:
    check = replica.check_candidate

    def step(candidate: Candidate) -> None:
        candidate.passed_by = None
        check(candidate)

    return step


def _check_new(replica: Replica) -> Callable[[Any], object]:
    return lambda token: replica.check(token, _KID)


WAYS: dict[str, Callable[[Replica], Callable[[Any], object]]] = {
    "seen before, nothing revoked since": _check_again,
    "seen before, something revoked since": _look_up_again,
    "a new token": _check_new,
}
"""How a token comes to be checked."""


def timings(sizes: Sequence[int], way: str, rounds: int, count: int) -> list[Timing]:
    """One check at each size, in interleaved rounds."""
    contenders = []
    for size in sizes:
        replica = holding(size)
        tokens: list[Any] = [claims() for _ in range(count)]
        if way != "a new token":
            tokens = [Candidate(token, _KID) for token in tokens]
            for token in tokens:
                replica.check_candidate(token)
        contenders.append(Contender(f"{size:,} entries", WAYS[way](replica), tokens))
    return measure(contenders, rounds=rounds, count=count)


def replica(lab: Lab) -> Iterator[Row]:
    """The check at the largest size beside that at smaller ones: a ratio of 1 is flat."""
    sizes = lab.scale.entries[::-1]
    for way in WAYS:
        lab.say(f"the replica's check, {way}")
        found = timings(sizes, way, lab.scale.rounds, lab.scale.fast)
        yield from rows(REPLICA, f"{way}, {sizes[0]:,} entries", found)


def by_size(most: int, picture: Path | None, say: Callable[[str], None]) -> list[str]:
    """A table of nanoseconds by size, and the picture."""
    sizes = [10**power for power in range(1, 10) if 10**power <= most]
    lines: dict[str, list[tuple[float, float]]] = {}
    for way in WAYS:
        say(f"checking: {way}")
        found = timings(sizes, way, _ROUNDS, _TOKENS)
        # The fastest round: what else the machine does is no matter of size.
        lines[way] = [(size, min(timing.rounds)) for size, timing in zip(sizes, found, strict=True)]
    if picture is not None:
        chart = line_chart("One check of a token against the replica", "entries", "µs", lines)
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(chart, "utf-8")
    table = ["| entries | " + " | ".join(lines) + " |", "|---:|" + "---:|" * len(lines)]
    for row, size in enumerate(sizes):
        cells = " | ".join(f"{line[row][1]:.2f} µs" for line in lines.values())
        table.append(f"| {size:,} | {cells} |")
    return table


# --- memory ------------------------------------------------------------------------------------


def _share() -> int:
    """This process' part of the memory that it and others use, bytes."""
    for line in Path("/proc/self/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise BenchmarkError("no Pss in /proc/self/smaps_rollup")


def _worker(path: Path, shared: bool, line: Connection) -> None:
    """Answers, when asked, how much memory its copy costs it."""
    file = SharedFile(path, _OWNER)
    line.recv()
    line.send(_share())
    line.recv()
    reader = SharedReader(file)
    reader.look()
    if shared:
        copy: Any = reader
        _ = reader.fresh_at
    else:
        copy = PackedCopy(held=file.open(write=True))
    buffer = copy._table._buffer
    pages = sum(buffer[at] for at in range(0, len(buffer), 4096))
    line.send(pages)
    line.recv()
    line.send(_share())
    line.recv()


def _all_say(lines: Sequence[Connection]) -> list[int]:
    for line in lines:
        line.send("now")
    return [int(line.recv()) for line in lines]


def memory_of(workers: int, path: Path, *, shared: bool) -> int:
    """Bytes that the copies of so many processes take, all together."""
    context = get_context("spawn")
    pairs = [context.Pipe() for _ in range(workers)]
    processes = [
        context.Process(target=_worker, args=(path, shared, theirs), daemon=True)
        for _, theirs in pairs
    ]
    for process in processes:
        process.start()
    lines = [ours for ours, _ in pairs]
    before = _all_say(lines)
    _all_say(lines)
    after = _all_say(lines)
    for line in lines:
        line.send("end")
    for process in processes:
        process.join(30)
    return sum(after) - sum(before)


def by_workers(entries: int, most: int, directory: Path, say: Callable[[str], None]) -> list[str]:
    """A table of megabytes by how many processes there are."""
    directory.chmod(0o700)
    path = directory / "replica"
    table = ["| processes | a copy each | one shared |", "|---:|---:|---:|"]
    for workers in (number for number in WORKERS if number <= most):
        say(f"memory of {workers} processes")
        copy = PackedCopy(SharedFile(path, _OWNER))
        copy.merge(records(entries))
        copy.vouch(1.0)
        # Ours would be counted as one more that maps it.
        del copy
        one, own = (memory_of(workers, path, shared=shared) for shared in (True, False))
        table.append(f"| {workers} | {own / 1e6:.0f} MB | {one / 1e6:.0f} MB |")
    return table


# --- loading -----------------------------------------------------------------------------------


@contextmanager
def _beating(denylist: Denylist) -> Iterator[None]:
    stopping = threading.Event()

    def beat() -> None:
        while not stopping.wait(0.25):
            denylist.heartbeat(1.0)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(timeout=10)


@contextmanager
def _over_http(url: str) -> Iterator[Denylist]:
    """The denylist as a gateway reads it of an issuer's feed, which another process serves."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
    from harness import feed_server

    # A fork, so that both ends have the key under which the feed is signed.
    context = get_context("fork")
    ours, theirs = context.Pipe()

    def serve() -> None:
        with closing(open_denylist(url)) as denylist, feed_server.serving(denylist) as server:
            theirs.send(server.url)
            theirs.recv()

    process = context.Process(target=serve, daemon=True)
    process.start()
    try:
        with closing(open_denylist(ours.recv(), verify=feed_server.verify)) as gateway:
            yield gateway
    finally:
        ours.send("end")
        process.join(30)


def _read_by(gateway: Denylist, denylist: Denylist) -> tuple[Replica, str]:
    """A replica that has read all of it, and how long that took."""
    replica = Replica(gateway, max_staleness=_FOR_EVER)
    begun, spent = time.monotonic(), time.process_time()
    replica.step(block=0)
    read, spent = time.monotonic() - begun, time.process_time() - spent
    with _beating(denylist):
        while replica.staleness() > _FOR_EVER:
            replica.step(block=0.1)
    in_step = time.monotonic() - begun
    return replica, (
        f"in {read:.1f} s ({spent:.1f} s of its processor time), in step after {in_step:.1f} s."
    )


def loading(entries: int, directory: Path, say: Callable[[str], None]) -> list[str]:
    """How long a replica takes until it is in step with so many entries, by either way."""
    with (
        redis_server(directory, fsync="everysec") as server,
        closing(open_denylist(server.url)) as denylist,
        closing(open_denylist(server.url)) as gateway,
    ):
        denylist.initialise(0)
        denylist.mark_ready()
        say(f"revoking {entries:,} on Redis")
        expires = int(time.time()) + 3_600
        for start in range(0, entries, _BATCH):
            count = min(_BATCH, entries - start)
            denylist.add([Entry.session(random_id(), expires + start % 600) for _ in range(count)])
        say("loading them")
        replica, from_redis = _read_by(gateway, denylist)
        with _over_http(server.url) as feed:
            _, from_feed = _read_by(feed, denylist)
        copy = replica._copy
        assert isinstance(copy, PackedCopy)
        size = size_of(copy.table.capacity) / len(replica)
    return [
        f"{len(replica):,} entries: {size:.1f} bytes each (the table's own size)",
        f"read from Redis {from_redis}",
        f"read from the HTTP feed {from_feed}",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replica", description=__doc__)
    parser.add_argument("--entries", type=int, default=MOST, help="up to how many (a million)")
    parser.add_argument(
        "--processes", type=int, default=WORKERS[-1], help=f"up to how many ({WORKERS[-1]})"
    )
    parser.add_argument("--check-only", action="store_true", help="the check by size alone")
    parser.add_argument("--picture", type=Path, help="write the check by size as SVG to this file")
    options = parser.parse_args(arguments)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    say(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    place = tempfile.gettempdir()
    place = place if len(place) < 60 else "/tmp"
    try:
        with tempfile.TemporaryDirectory(prefix="gp-bench-", dir=place) as name:
            parts = [Path(name) / part for part in ("redis", "shared")]
            for part in parts:
                part.mkdir(mode=0o700)
            lines = by_size(options.entries, options.picture, say)
            if not options.check_only:
                lines += [
                    "",
                    *loading(options.entries, parts[0], say),
                    "",
                    *by_workers(options.entries, options.processes, parts[1], say),
                ]
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
