"""Faults of a soak: each breaks a real server for a while and mends it again."""

from __future__ import annotations

import contextlib
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
import redis
from harness.flood import Flood
from harness.issuer_process import IssuerFleet, IssuerProcess
from harness.postgres_server import PostgresServer
from harness.processes import monotonic
from harness.redis_cluster import RedisCluster
from harness.redis_sentinel import RedisSentinel
from harness.redis_server import RedisServer
from harness.small_disk import SmallDisk

SHORT = 1.0
"""Seconds for which most faults last."""
LONG = 4.0
"""Seconds: longer than a client of Redis waits."""
SKEW = 5.0
"""Seconds by which clocks are apart: less than the leeway of gateways."""
SLOW = 0.3
"""Seconds for which Redis keeps everybody waiting, again and again."""
FLAP = 0.1
"""Seconds between two cuts of every connection."""
IDLE = 10_000
SLOW_LORIS = 1_000
"""Connections that send a request a byte at a time; who is closed comes again."""
MOVED = 8
"""Slots of a cluster that move beside that of the denylist."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A way in which something breaks; `loses` if data that Redis had acknowledged goes with it."""

    name: str
    strike: Callable[[], None]
    loses: bool = False


class IssuerFaults:
    """What can be done to issuers; the victim is another one each time."""

    def __init__(self, fleet: IssuerFleet) -> None:
        self._fleet = fleet
        self._turn = count()

    def all(self) -> list[Fault]:
        """One of each kind, in the order in which they come."""
        return [
            Fault("issuer: kill -9, restart", self._kill),
            Fault("issuer: stopped for 4 s", self._pause),
            Fault("issuer: its clock 5 s ahead, then 5 s behind", self._skew),
            Fault("issuer: no file descriptors left", self._exhaust_descriptors),
            Fault("issuer: ten thousand idle connections", self._idle),
            Fault("issuer: slow-loris, a thousand at a time", self._drip),
        ]

    def _next(self) -> tuple[int, IssuerProcess]:
        number = next(self._turn) % len(self._fleet.issuers)
        return number, self._fleet.issuers[number]

    def _kill(self) -> None:
        _, victim = self._next()
        victim.process.kill()
        time.sleep(SHORT)
        victim.process.start()
        victim.wait_ready()

    def _pause(self) -> None:
        _, victim = self._next()
        victim.process.pause()
        time.sleep(LONG)
        victim.process.resume()

    def _skew(self) -> None:
        number, _ = self._next()
        for seconds in (SKEW, -SKEW, 0.0):
            self._fleet.put_clock(number, seconds)
            time.sleep(2 * SHORT if seconds else 0)

    def _exhaust_descriptors(self) -> None:
        _, victim = self._next()
        with ExitStack() as stack:
            for pid in victim.process.members():
                stack.enter_context(_no_more_descriptors(pid))
            time.sleep(2 * SHORT)

    def _idle(self) -> None:
        _, victim = self._next()
        with Flood(victim.port, IDLE) as flood:
            flood.opened()
            time.sleep(SHORT)

    def _drip(self) -> None:
        _, victim = self._next()
        head = b"POST /refresh HTTP/1.1\r\nX-Slow: "
        with Flood(victim.port, SLOW_LORIS, most=3 * SLOW_LORIS, said=head, drip=b"x"):
            time.sleep(LONG)


@contextmanager
def _no_more_descriptors(pid: int) -> Iterator[None]:
    """A process opens nothing more: what it holds is all that it may hold."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    held = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (held, before[1]))
    yield
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


class SqlFaults:
    """What can be done to PostgreSQL."""

    def __init__(self, sql: PostgresServer, disk: SmallDisk) -> None:
        """`disk` holds the database, and nothing else."""
        self._sql = sql
        self._disk = disk

    def all(self) -> list[Fault]:
        """One of each kind, in the order in which they come."""
        return [
            Fault("PostgreSQL: kill -9, restart", self._kill),
            Fault("PostgreSQL: every backend ended", self._end_backends),
            Fault("PostgreSQL: connections exhausted", self._exhaust_connections),
            Fault("PostgreSQL: disk full", self._fill_disk),
        ]

    def _kill(self) -> None:
        self._sql.kill()
        time.sleep(SHORT)
        self._sql.start()

    def _fill_disk(self) -> None:
        self._disk.fill()
        time.sleep(LONG)
        self._disk.free()

    def _end_backends(self) -> None:
        with self._sql.connect() as connection:
            _end_others(connection, [])

    def _exhaust_connections(self) -> None:
        with ExitStack() as taken:
            keeper = taken.enter_context(self._sql.connect())
            ours = [keeper]
            over = monotonic() + LONG
            while monotonic() < over:
                # Each place that the issuers lose is taken before they come back for it.
                with contextlib.suppress(psycopg.OperationalError):
                    while True:
                        ours.append(taken.enter_context(self._sql.connect()))
                _end_others(keeper, ours)


def _end_others(
    connection: psycopg.Connection[tuple[object, ...]],
    ours: list[psycopg.Connection[tuple[object, ...]]],
) -> None:
    """End every client's backend but our own."""
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type ="
        " 'client backend' AND pid <> pg_backend_pid() AND pid <> ALL(%s)",
        ([other.info.backend_pid for other in ours],),
    )


class RedisFaults:
    """What can be done to a Redis that is alone."""

    def __init__(self, store: RedisServer, disk: SmallDisk) -> None:
        """`disk` holds its data, and nothing else."""
        self._store = store
        self._disk = disk

    def all(self) -> list[Fault]:
        """One of each kind, in the order in which they come."""
        return [
            Fault("Redis: kill -9, restart", self._kill),
            Fault("Redis: stopped for 4 s", self._pause),
            Fault("Redis: 0.3 s late, for 4 s", self._slow),
            Fault("Redis: connections cut ten times a second", self._flap),
            Fault("Redis: FLUSHALL", self._flush, loses=True),
            Fault("Redis: older append-only file", self._older_file, loses=True),
            Fault("Redis: maxmemory reached", self._fill),
            Fault("Redis: disk full, restart", self._fill_disk),
        ]

    def _kill(self) -> None:
        self._store.kill()
        time.sleep(SHORT)
        self._store.start()

    def _pause(self) -> None:
        self._store.pause()
        time.sleep(LONG)
        self._store.resume()

    def _slow(self) -> None:
        over = monotonic() + LONG
        with redis.Redis.from_url(self._store.unix_url) as client:
            while monotonic() < over:
                client.client_pause(int(SLOW * 1000))
                # A little of what waits is let through each time.
                time.sleep(SLOW + 0.02)

    def _flap(self) -> None:
        over = monotonic() + LONG
        with redis.Redis.from_url(self._store.unix_url) as client:
            while monotonic() < over:
                client.client_kill_filter(_type="normal", skipme=True)
                time.sleep(FLAP)

    def _flush(self) -> None:
        self._store.client().flushall()

    def _older_file(self) -> None:
        log = self._disk.path / "appendonlydir"
        kept = self._disk.path / "kept"
        # Taken while nobody writes, as a snapshot of the volume would be.
        with self._stopped():
            shutil.copytree(log, kept)
        time.sleep(LONG)
        with self._stopped():
            shutil.rmtree(log)
            kept.rename(log)

    @contextmanager
    def _stopped(self) -> Iterator[None]:
        self._store.stop()
        yield
        self._store.start()

    def _fill_disk(self) -> None:
        self._disk.fill()
        time.sleep(SHORT)
        self._disk.free()
        # One that syncs always ends itself at its first failure to write.
        self._store.restart()

    def _fill(self) -> None:
        client = self._store.client()
        client.config_set("maxmemory", "1")
        time.sleep(SHORT)
        client.config_set("maxmemory", "0")


class SentinelFaults:
    """What can be done to a master, which its replica then follows; what it lags by is lost."""

    def __init__(self, pair: RedisSentinel) -> None:
        self._pair = pair

    def all(self) -> list[Fault]:
        """One of each kind, in the order in which they come."""
        return [
            Fault("Sentinel: master kill -9, failover", self._kill_master, loses=True),
            Fault("Sentinel: master cut off, failover", self._cut_master_off, loses=True),
            Fault("Sentinel: a replica 1 s behind is promoted", self._promote_laggard, loses=True),
        ]

    def _kill_master(self) -> None:
        self._pair.lose_master()
        self._follow_successor()

    def _cut_master_off(self) -> None:
        self._pair.cut_off_master()
        self._pair.wait_promoted()
        time.sleep(SHORT)
        self._pair.master.kill()
        self._follow_successor()

    def _promote_laggard(self) -> None:
        self._pair.hold_replica_back()
        time.sleep(SHORT)
        self._pair.lose_master()
        self._follow_successor()

    def _follow_successor(self) -> None:
        self._pair.wait_promoted()
        self._pair.return_master()
        self._pair.swap()


class ClusterFaults:
    """What can be done to the node of a cluster that holds the denylist, and to another one."""

    def __init__(self, cluster: RedisCluster, denylist_key: str) -> None:
        self._cluster = cluster
        self._key = denylist_key

    def all(self) -> list[Fault]:
        """One of each kind, in the order in which they come."""
        return [
            Fault("Cluster: slots move, the denylist's too", self._move_slots),
            Fault("Cluster: a node with families is lost", self._lose_families, loses=True),
            Fault("Cluster: the denylist's node is lost", self._lose_denylist, loses=True),
        ]

    def _move_slots(self) -> None:
        home = self._cluster.index_of(self._key)
        target = (home + 1) % len(self._cluster.masters)
        self._cluster.move_slots(self._cluster.slots_beside(self._key, MOVED), home, target)

    def _lose_denylist(self) -> None:
        self._lose(self._cluster.index_of(self._key))

    def _lose_families(self) -> None:
        self._lose((self._cluster.index_of(self._key) + 1) % len(self._cluster.masters))

    def _lose(self, index: int) -> None:
        self._cluster.fail_over(index)
        self._cluster.return_master(index)
