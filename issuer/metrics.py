"""What an issuer counts, for Prometheus to fetch: by all worker processes together.

No label has a value that a caller chooses, and none names a person, a session or an address.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from . import tracing

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text format of Prometheus."""
QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: a refresh takes a few milliseconds, a login as long as its hash, an outage ten."""
_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "gatepass-metrics-"
_YOUNG = 60.0
"""Seconds: one that has just been made is not locked yet."""


@contextmanager
def counting_together() -> Iterator[None]:
    """All processes that are forked within count in one place, in memory if there is one.

    Entered before any `Metrics` is made.
    """
    supervisor = os.getpid()
    place = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())  # noqa: S108
    _remove_abandoned(place)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    # Held by every process of ours, until the last one has ended.
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_SH)
    try:
        _share_between_processes(directory)
        yield
    finally:
        # A worker leaves through here too, being a fork of this process.
        if os.getpid() == supervisor:
            shutil.rmtree(directory, ignore_errors=True)


def _remove_abandoned(place: Path) -> None:
    """Remove what a supervisor that was killed has left, and nothing that is in use."""
    for directory in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = directory.stat()
            if found.st_uid != os.geteuid() or time.time() - found.st_mtime < _YOUNG:
                continue
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(lock)


def _share_between_processes(directory: Path) -> None:
    os.environ[_DIRECTORY] = str(directory)
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


def process_has_ended(pid: int) -> None:
    """What it had under way is no more; what it had counted stays."""
    if _DIRECTORY in os.environ:
        mark_process_dead(pid)  # type: ignore[no-untyped-call]


class Metrics:
    """The counters and histograms of one issuer."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Histogram(
            "gatepass_http_request_duration_seconds",
            "Requests, by the path of the OpenAPI document.",
            ["method", "route", "status"],
            buckets=QUICK,
            registry=registry,
        )
        self._logins = Counter(
            "gatepass_logins",
            "Password logins, by outcome.",
            ["outcome"],
            registry=registry,
        )
        self._refreshes = Counter(
            "gatepass_refreshes",
            "Refreshes: the rule of rotation that applied, or why none did.",
            ["outcome"],
            registry=registry,
        )
        self._revocations = Histogram(
            "gatepass_revocation_push_duration_seconds",
            "From a journalled revocation to its acknowledgement, by why it was revoked.",
            ["reason"],
            buckets=QUICK,
            registry=registry,
        )
        self._waits = Histogram(
            "gatepass_password_hashing_wait_seconds",
            "What passwords waited for their turn to be hashed.",
            buckets=QUICK,
            registry=registry,
        )
        self._hashes = Histogram(
            "gatepass_password_hashing_duration_seconds",
            "What hashing a password took.",
            buckets=QUICK,
            registry=registry,
        )
        self._queue = Gauge(
            "gatepass_password_hashing_queue",
            "Passwords that wait for their turn or are being hashed now.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._turned_away = Counter(
            "gatepass_password_hashing_turned_away",
            "Passwords for which there was no room in the queue, or no turn in time.",
            registry=registry,
        )
        self._streams = Gauge(
            "gatepass_feed_streams",
            "Gateways that follow the denylist over HTTP now, by the name in the settings.",
            ["gateway"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._snapshots = Counter(
            "gatepass_feed_snapshots",
            "Snapshots that gateways have asked for: one at a start, more where they lost touch.",
            ["gateway"],
            registry=registry,
        )

        self._notifications = Counter(
            "gatepass_notifications",
            "Attempts to tell a receiver of an event, by what became of them.",
            ["channel", "outcome"],
            registry=registry,
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def login(self, outcome: str) -> None:
        """Count a login."""
        self._logins.labels(outcome).inc()

    def refresh(self, outcome: str) -> None:
        """Count a refresh."""
        self._refreshes.labels(outcome).inc()

    def revoked(self, reason: str, seconds: float) -> None:
        """Count a revocation that was acknowledged."""
        self._revocations.labels(reason).observe(seconds)

    def following(self, gateway: str, stream: Iterable[bytes]) -> FollowedStream:
        """Count a gateway's stream for as long as it lasts."""
        return FollowedStream(stream, self._streams.labels(gateway))

    def snapshot(self, gateway: str) -> None:
        """Count a snapshot."""
        self._snapshots.labels(gateway).inc()

    def notified(self, channel: str, outcome: str) -> None:
        """Count an attempt to tell a receiver of an event, or that one was given up."""
        self._notifications.labels(channel, outcome).inc()

    @contextmanager
    def hashing(self) -> Iterator[HashingTurn]:
        """A password that wants to be hashed, from its arrival to its end."""
        self._queue.inc()
        turn = HashingTurn()
        try:
            with tracing.span("hash password"):
                yield turn
        finally:
            self._queue.dec()
            if turn.begun is None:
                self._turned_away.inc()
            else:
                self._waits.observe(turn.begun - turn.arrived)
                self._hashes.observe(perf_counter() - turn.begun)

    def text(self, state: Collector) -> bytes:
        """All of it in the text format of Prometheus, with what `state` finds out now."""
        registry = self._registry
        if _DIRECTORY in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        now = CollectorRegistry()
        now.register(state)
        return bytes(generate_latest(registry) + generate_latest(now))


class HashingTurn:
    """When a password arrived, and when its turn came."""

    def __init__(self) -> None:
        self.arrived = perf_counter()
        self.begun: float | None = None

    def begins(self) -> None:
        """Its turn has come."""
        self.begun = perf_counter()


class FollowedStream:
    """A stream that is counted until it is closed, however often that is said."""

    def __init__(self, stream: Iterable[bytes], open_ones: Gauge) -> None:
        self._stream = stream
        self._open_ones: Gauge | None = open_ones
        open_ones.inc()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        open_ones, self._open_ones = self._open_ones, None
        if open_ones is not None:
            open_ones.dec()
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()
