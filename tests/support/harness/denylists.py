"""Denylists of every kind for tests: stores, clocks, tokens, a model, and ways to break things."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import redis
from harness.processes import monotonic

from revocation import (
    NEVER,
    Denylist,
    DenylistState,
    DenylistUnavailable,
    Entry,
    FeedItem,
    Kind,
    Position,
    Probe,
    Record,
    Replica,
    Snapshot,
    open_denylist,
)
from revocation.entry import record_key
from revocation.memory_denylist import MemoryDenylist
from revocation.packed_copy import PackedCopy
from revocation.redis_client import connect
from revocation.redis_denylist import RedisDenylist
from revocation.shared_reader import SharedReader

BUCKET = 60
"""Seconds by which Redis keeps records together; nothing expires before its bucket ends."""
FAR_BUCKET = 300
"""The same for what expires more than ten minutes from now."""


class HandClock:
    """A clock that stands until it is moved.

    It starts on a full minute an hour ahead: Redis itself expires keys by the real time, which
    must not reach what a test stores.
    """

    def __init__(self) -> None:
        self.now: float = (int(time.time()) // BUCKET + 60) * BUCKET

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def after(self, seconds: int) -> int:
        """The moment `seconds` from now, as an expiry."""
        return int(self.now) + seconds


# --- stores --------------------------------------------------------------------------------------

_numbers = itertools.count()


@dataclass
class Store:
    """One kind of denylist; `width` is by how many seconds its expiry is rounded up."""

    name: str
    url: str
    width: int = BUCKET
    opened: list[Denylist] = field(default_factory=list)

    @property
    def is_memory(self) -> bool:
        return self.url.startswith("memory:")

    def fresh(self) -> Store:
        """An empty store of this kind, apart from every other."""
        return Store(f"{self.name}-{next(_numbers)}", self.url, self.width, self.opened)

    def open(self, clock: Callable[[], float] | None = None, **limits: int) -> Denylist:
        """Open it once more; what is written through one opening is read through the others.

        `limits`: `feed_window` and `feed_cap`; a memory denylist with limits is a new one.
        """
        made: Denylist
        if self.is_memory:
            made = (
                MemoryDenylist(clock=clock or time.time, **limits)
                if limits
                else open_denylist(f"{self.url}/{self.name}", clock=clock)
            )
        elif limits:
            made = RedisDenylist(connect(self.url), namespace=self.name, clock=clock, **limits)
        else:
            made = open_denylist(self.url, namespace=self.name, clock=clock)
        self.opened.append(made)
        return made

    def ready(self, clock: Callable[[], float] | None = None, **limits: int) -> Denylist:
        """Open it, initialised with watermark 0 and ready."""
        made = self.open(clock, **limits)
        made.initialise(watermark=0)
        made.mark_ready()
        return made

    def end(self, expires: int) -> int:
        """When a record of that expiry is gone."""
        return expires if expires == NEVER else -(-expires // self.width) * self.width

    def close(self) -> None:
        for denylist in self.opened:
            denylist.close()
        self.opened.clear()


def merged(records: Iterable[Record]) -> dict[bytes, tuple[int, int]]:
    """Level and expiry of each record key, merged by maximum as every reader does."""
    found: dict[bytes, tuple[int, int]] = {}
    for record in records:
        level, expires = found.get(record.key, (0, 0))
        found[record.key] = max(level, record.level), max(expires, record.expires)
    return found


def contents(denylist: Denylist) -> dict[bytes, tuple[int, int]]:
    """What a denylist holds."""
    return merged(denylist.snapshot().records)


def start_of(denylist: Denylist) -> Position:
    """The position before the first item."""
    return Position(denylist.state().position.epoch, 0, "")


def feed(denylist: Denylist) -> list[FeedItem]:
    """The whole feed of a denylist that was never trimmed."""
    if denylist.state().position.seq == 0:
        return []
    items: list[FeedItem] = []
    position = start_of(denylist)
    while batch := denylist.tail(position, block=0):
        items += batch
        position = Position(position.epoch, batch[-1].seq, batch[-1].chain)
        if position == denylist.state().position:
            break
    return items


class Model:
    """What a denylist must hold: a plain maximum over everything that was ever added."""

    def __init__(self, end: Callable[[int], int], watermark: int = 0) -> None:
        """`end` rounds an expiry as the store does."""
        self._end = end
        self._held: dict[tuple[Kind, str], tuple[int, int]] = {}
        self.watermark = watermark

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.kind is Kind.EPOCH:
                self.watermark = max(self.watermark, entry.level)
                continue
            level, expires = self._held.get((entry.kind, entry.value), (0, 0))
            self._held[entry.kind, entry.value] = (
                max(level, entry.level),
                max(expires, self._end(entry.expires)),
            )

    def contents(self, salt: bytes, now: float = 0) -> dict[bytes, tuple[int, int]]:
        """What is unexpired at `now`, under the keys that `salt` gives."""
        return {
            record_key(kind, value, salt): held
            for (kind, value), held in self._held.items()
            if held[1] > now
        }


# --- tokens --------------------------------------------------------------------------------------

KID = "key-of-the-token"


@dataclass(frozen=True)
class Token:
    """The claims that revocation looks at."""

    jti: str = "AAAAAAAAAAAAAAAAAAAAAA"
    sid: str = "BBBBBBBBBBBBBBBBBBBBBA"
    sub: str = "ann@example.com"
    sub_ver: int = 5
    client_id: str = "shop"
    aud: tuple[str, ...] = ("https://api.example", "https://files.example")
    iat: int = 1_000
    exp: int = 1 << 40

    def probe(self, denylist: Denylist, kid: str = KID) -> Probe:
        """Ready to be looked up in that denylist."""
        return Probe.of(self, kid, denylist.state().salt)


HITS: Mapping[str, tuple[Callable[[int], Entry], Kind | None]] = {
    "token": (lambda e: Entry.token(Token.jti, e), Kind.TOKEN),
    "another token": (lambda e: Entry.token("AAAAAAAAAAAAAAAAAAAAAQ", e), None),
    "session": (lambda e: Entry.session(Token.sid, e), Kind.SESSION),
    "another session": (lambda e: Entry.session("BBBBBBBBBBBBBBBBBBBBBQ", e), None),
    "the session's id as a token's": (lambda e: Entry.token(Token.sid, e), None),
    "the token's id as a session's": (lambda e: Entry.session(Token.jti, e), None),
    "subject, one version less": (lambda e: Entry.subject(Token.sub, 4, e), None),
    "subject, the token's version": (lambda e: Entry.subject(Token.sub, 5, e), None),
    "subject, one version more": (lambda e: Entry.subject(Token.sub, 6, e), Kind.SUBJECT),
    "another subject": (lambda e: Entry.subject("bob@example.com", 6, e), None),
    "key": (lambda e: Entry.key(KID), Kind.KEY),
    "another key": (lambda e: Entry.key("another-key"), None),
    "client, a second before the token": (lambda e: Entry.client("shop", 999, e), None),
    "client, the token's second": (lambda e: Entry.client("shop", 1_000, e), Kind.CLIENT),
    "client, a second after the token": (lambda e: Entry.client("shop", 1_001, e), Kind.CLIENT),
    "another client": (lambda e: Entry.client("blog", 1_001, e), None),
    "audience, a second before the token": (
        lambda e: Entry.client("https://files.example", 999, e),
        None,
    ),
    "first audience, the token's second": (
        lambda e: Entry.client("https://api.example", 1_000, e),
        Kind.CLIENT,
    ),
    "second audience, the token's second": (
        lambda e: Entry.client("https://files.example", 1_000, e),
        Kind.CLIENT,
    ),
    "a client of the subject's name": (lambda e: Entry.client(Token.sub, 1_001, e), None),
    "epoch, a second before the token": (lambda e: Entry.epoch("e", 999), None),
    "epoch, the token's second": (lambda e: Entry.epoch("e", 1_000), Kind.EPOCH),
    "epoch, a second after the token": (lambda e: Entry.epoch("e", 1_001), Kind.EPOCH),
}
"""An entry made for an expiry, and what kind of it refuses `Token()`, if any."""


# --- calls ---------------------------------------------------------------------------------------

CALLS: Mapping[str, Callable[[Denylist], Any]] = {
    "state": lambda denylist: denylist.state(),
    "mark_ready": lambda denylist: denylist.mark_ready(),
    "add": lambda denylist: denylist.add([Entry.key("k")]),
    "lookup": lambda denylist: denylist.lookup(Probe.of(Token(), KID, b"salt")),
    "heartbeat": lambda denylist: denylist.heartbeat(1),
    "snapshot": lambda denylist: denylist.snapshot(),
    "tail": lambda denylist: denylist.tail(Position("epoch", 0, ""), 0),
}
"""Every method that a denylist without an epoch refuses."""


# --- life and faults -----------------------------------------------------------------------------


class Heart:
    """An issuer's heartbeat from a thread; it beats on through every failure."""

    def __init__(self, denylist: Denylist, interval: float) -> None:
        self._denylist, self._interval = denylist, interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval / 2):
            try:
                self._denylist.heartbeat(self._interval)
            except DenylistUnavailable:
                continue


class FaultyDenylist:
    """A denylist seen through a bad line: answers cut short, lost, repeated or swapped.

    Each fault is set for the calls to come. `lookups` counts what was asked directly.
    """

    def __init__(self, inner: Denylist) -> None:
        self.inner = inner
        self.down = False
        self.batch: int | None = None
        self.disturb: Callable[[list[FeedItem]], list[FeedItem]] | None = None
        self.snapshot_ends_after: int | None = None
        self.lookups = 0

    def _reach(self) -> Denylist:
        if self.down:
            raise DenylistUnavailable("the line is down")
        return self.inner

    def initialise(self, watermark: int) -> DenylistState:
        return self._reach().initialise(watermark)

    def replace(self, watermark: int) -> DenylistState:
        return self._reach().replace(watermark)

    def mark_ready(
        self,
        epoch: str | None = None,
        seen: Position | None = None,
        reached: Position | None = None,
    ) -> Position:
        return self._reach().mark_ready(epoch, seen, reached)

    def state(self) -> DenylistState:
        return self._reach().state()

    def add(
        self,
        entries: Iterable[Entry],
        known: Position | None = None,
        reached: Position | None = None,
    ) -> Position:
        return self._reach().add(list(entries), known, reached)

    def lookup(self, probe: Probe, known: Position | None = None) -> Kind | None:
        self.lookups += 1
        return self._reach().lookup(probe, known)

    def time(self) -> float:
        return self._reach().time()

    def heartbeat(
        self, interval: float, known: Position | None = None, asked: float | None = None
    ) -> Position:
        return self._reach().heartbeat(interval, known, asked)

    def snapshot(self) -> Snapshot:
        snapshot = self._reach().snapshot()
        if self.snapshot_ends_after is None:
            return snapshot
        return Snapshot(snapshot.state, self._torn(snapshot.records, self.snapshot_ends_after))

    @staticmethod
    def _torn(records: Iterable[Record], count: int) -> Iterator[Record]:
        yield from itertools.islice(records, count)
        raise DenylistUnavailable("the line went down in a snapshot")

    def tail(self, after: Position, block: float) -> list[FeedItem]:
        items = self._reach().tail(after, block)[: self.batch]
        return self.disturb(items) if self.disturb and items else items

    def close(self) -> None:
        self.inner.close()


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of `work(0..count-1)`, begun in one moment in as many threads."""
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count

    def run(number: int) -> None:
        barrier.wait(30)
        try:
            results[number] = work(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failed = [result for result in results if isinstance(result, Exception)]
    if failed:
        raise failed[0]
    return results


def seconds_until(done: Callable[[], bool], timeout: float) -> float:
    """Seconds of real time until `done` answers True; TimeoutError after `timeout`."""
    begun = monotonic()
    while not done():
        if monotonic() - begun > timeout:
            raise TimeoutError(f"not within {timeout} s")
        time.sleep(0.002)
    return monotonic() - begun


def strings_in(client: redis.Redis) -> Iterator[bytes]:
    """Every byte string that a Redis holds: names, keys, fields, members and values."""
    for name in client.scan_iter():
        yield name
        match client.type(name):
            case b"hash":
                for pair in client.hgetall(name).items():
                    yield from pair
            case b"zset":
                yield from client.zrange(name, 0, -1)
            case b"stream":
                for _, fields in client.xrange(name):
                    for pair in fields.items():
                        yield from pair
            case other:
                raise AssertionError(f"{name!r} is a {other!r}")


def held_by(replica: Replica) -> dict[bytes, tuple[int, int]]:
    """Level and expiry of what a replica holds."""
    copy = replica._copy
    assert isinstance(copy, PackedCopy | SharedReader)
    _ = copy.fresh_at  # a reader opens the file that is there now
    table = copy._table
    assert table is not None
    return {record.key: (record.level, record.expires) for record in table.records()}


def in_minutes(records: dict[bytes, tuple[int, int]]) -> dict[bytes, tuple[int, int]]:
    """The same with expiries rounded up to whole minutes, as a replica has them."""
    return {
        key: (level, expires if expires == NEVER else -(-expires // 60) * 60)
        for key, (level, expires) in records.items()
    }
