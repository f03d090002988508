"""Faults of a soak: each breaks one real server for a while and mends it again."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle

import psycopg
from harness.issuer_process import IssuerFleet
from harness.postgres_server import PostgresServer
from harness.processes import monotonic
from harness.redis_server import RedisServer

SHORT = 1.0
"""Seconds for which most faults last."""
LONG = 4.0
"""Seconds: longer than a client of Redis waits."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A way in which something breaks; `loses` if data that Redis had acknowledged goes with it."""

    name: str
    strike: Callable[[], None]
    loses: bool = False


class Faults:
    """What can be done to a deployment on one PostgreSQL and one Redis."""

    def __init__(self, fleet: IssuerFleet, sql: PostgresServer, store: RedisServer) -> None:
        self._fleet = fleet
        self._sql = sql
        self._store = store
        self._victims = cycle(fleet.issuers)

    def all(self) -> list[Fault]:
        """One of each kind, in the order in which they come."""
        return [
            Fault("issuer: kill -9, restart", self._kill_issuer),
            Fault("Redis: kill -9, restart", self._kill_redis),
            Fault("Redis: stopped for 4 s", self._pause_redis),
            Fault("Redis: FLUSHALL", self._flush, loses=True),
            Fault("PostgreSQL: kill -9, restart", self._kill_postgres),
            Fault("Redis: older append-only file", self._older_file, loses=True),
            Fault("issuer: stopped for 4 s", self._pause_issuer),
            Fault("Redis: maxmemory reached", self._fill_redis),
            Fault("PostgreSQL: every backend ended", self._end_backends),
            Fault("PostgreSQL: connections exhausted", self._exhaust_connections),
        ]

    def _kill_issuer(self) -> None:
        victim = next(self._victims)
        victim.process.kill()
        time.sleep(SHORT)
        victim.process.start()
        victim.wait_ready()

    def _pause_issuer(self) -> None:
        victim = next(self._victims)
        victim.process.pause()
        time.sleep(LONG)
        victim.process.resume()

    def _kill_redis(self) -> None:
        self._store.kill()
        time.sleep(SHORT)
        self._store.start()

    def _pause_redis(self) -> None:
        self._store.pause()
        time.sleep(LONG)
        self._store.resume()

    def _flush(self) -> None:
        self._store.client().flushall()

    def _older_file(self) -> None:
        log = self._store.directory / "appendonlydir"
        kept = self._store.directory / "kept"
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

    def _fill_redis(self) -> None:
        client = self._store.client()
        client.config_set("maxmemory", "1")
        time.sleep(SHORT)
        client.config_set("maxmemory", "0")

    def _kill_postgres(self) -> None:
        self._sql.kill()
        time.sleep(SHORT)
        self._sql.start()

    def _end_backends(self) -> None:
        with self._sql.connect() as connection:
            _end_others(connection, [])

    def _exhaust_connections(self) -> None:
        with contextlib.ExitStack() as taken:
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
