"""The denylist on Redis: packed, bucketed records, and a stream as the feed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis

from .denylist import CLOCK_TOLERANCE, FEED_CAP, FEED_WINDOW, Snapshot
from .entry import NEVER, Entry, Kind, Probe, Record, pack, refusal, to_record
from .errors import (
    ClocksApart,
    DenylistLost,
    DenylistNewer,
    DenylistNotReady,
    DenylistReplaced,
    DenylistUnavailable,
    DenylistWentBack,
    FeedGap,
    HeartbeatLate,
    RevocationError,
)
from .feed import DenylistState, FeedItem, Position
from .redis_circuit import Circuits
from .redis_client import ANSWER_TIMEOUT, Link, ReadScript, load_script
from .redis_confirmation import Confirmation

_BATCH = 512
_TAIL_COUNT = 1000


class RedisDenylist:
    """Implements `Denylist`; every change is one Lua call on keys of one hash tag."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        namespace: str = "gatepass",
        replicas: int = 0,
        clock: Callable[[], float] | None = None,
        wall_clock: Callable[[], float] | None = None,
        tolerance: float = CLOCK_TOLERANCE,
        circuits: Circuits | None = None,
        feed_window: int = FEED_WINDOW,
        feed_cap: int = FEED_CAP,
    ) -> None:
        """`replicas` must hold an entry before it counts as added.

        `clock` (seconds) replaces the server's own time, for tests; `wall_clock` is the one by
        which the caller reckons expiries, this host's unless given. The server's may be ahead of it
        by `tolerance` seconds.
        """
        self._client = client
        self._link = Link(client, DenylistUnavailable, circuits)
        self._clock = clock
        self._wall_clock = wall_clock or clock or time.time
        self._tolerance = tolerance
        self._feed_window = feed_window
        self._feed_cap = feed_cap
        base = f"{namespace}:{{denylist}}"
        self._feed = f"{base}:feed"
        self._shards = f"{base}:shards"
        self._forever = f"{base}:forever"
        self._meta = base
        self._keys = [self._meta, self._feed, self._shards, self._forever, f"{base}:buckets"]
        self._confirmation = Confirmation(client, self._meta, replicas)
        self._salt: bytes | None = None
        prelude = load_script("revocation", "prelude")
        self._initialise, self._mark_ready, self._add, self._heartbeat = (
            client.register_script(prelude + load_script("revocation", name))
            for name in ("initialise", "mark_ready", "add", "heartbeat")
        )
        self._state, self._lookup, self._time = (
            ReadScript(client, prelude + load_script("revocation", name))
            for name in ("state", "lookup", "time")
        )

    def _run(self, script: Any, *args: Any) -> Any:
        now = "" if self._clock is None else str(int(self._clock() * 1000))
        with self._link.use(self._meta):
            try:
                return script(keys=self._keys, args=[now, *args])
            except redis.ResponseError as error:
                refused = _REFUSALS.get(str(error).partition(" ")[0])
                if refused is None:
                    raise
                raise refused from None

    def initialise(self, watermark: int) -> DenylistState:
        return self._begin(watermark, "")

    def replace(self, watermark: int) -> DenylistState:
        return self._begin(watermark, "replace")

    def _begin(self, watermark: int, how: str) -> DenylistState:
        epoch, salt = secrets.token_urlsafe(16), secrets.token_bytes(32)
        return self._know(_state(self._run(self._initialise, epoch, watermark, salt, how)))

    def mark_ready(
        self,
        epoch: str | None = None,
        seen: Position | None = None,
        reached: Position | None = None,
    ) -> Position:
        least = seen.seq if seen is not None and seen.epoch == epoch else 0
        return _position(self._run(self._mark_ready, epoch or "", str(least), *_seen(reached)))

    def state(self) -> DenylistState:
        return self._know(_state(self._run(self._state)))

    def _know(self, state: DenylistState) -> DenylistState:
        self._salt = state.salt
        return state

    def add(
        self,
        entries: Sequence[Entry],
        known: Position | None = None,
        reached: Position | None = None,
    ) -> Position:
        held = (*_seen(known), *_seen(reached))
        # A replay is acknowledged to nobody: whoever leads next begins another one.
        confirm = reached is None
        try:
            return self._add_under(self._salt or self.state().salt, entries, held, confirm=confirm)
        except DenylistReplaced:
            return self._add_under(self.state().salt, entries, held, confirm=confirm)
        except ClocksApart:
            # Unless this process only stood still after it had looked at its clock.
            return self._add_under(self._salt or self.state().salt, entries, held, confirm=confirm)

    def _add_under(
        self, salt: bytes, entries: Sequence[Entry], held: Sequence[str], *, confirm: bool
    ) -> Position:
        blob = pack(to_record(entry, salt) for entry in entries)
        reached = _position(self._run(self._add, blob, NEVER, salt, *held, self._latest()))
        if entries and confirm:
            with self._link.use(self._meta, patient=True):
                self._confirmation.wait()
        return reached

    def lookup(self, probe: Probe, known: Position | None = None) -> Kind | None:
        found = self._run(self._lookup, probe.salt, *_seen(known), *probe.keys)
        watermark, *levels = found
        return refusal(probe, dict(zip(probe.keys, levels, strict=True)).__getitem__, watermark)

    def time(self) -> float:
        return int(self._run(self._time)) / 1000

    def heartbeat(
        self, interval: float, known: Position | None = None, asked: float | None = None
    ) -> Position:
        window = self._feed_window * 1000
        since = "" if asked is None else str(round(asked * 1000))
        held = (*_seen(known), since, self._latest())
        return _position(
            self._run(self._heartbeat, int(interval * 1000), window, self._feed_cap, *held)
        )

    def _latest(self) -> str:
        """How late it may be at the server."""
        return str(int((self._wall_clock() + self._tolerance) * 1000))

    def snapshot(self) -> Snapshot:
        state = self.state()
        return Snapshot(state, _Records(self._records, state.position))

    def _records(self, since: Position, told: _Records) -> Iterator[Record]:
        with self._link.use(self._meta, patient=True):
            start = self._pipeline()
            start.hgetall(self._forever)
            start.zrange(self._shards, 0, -1, withscores=True)
            forever, names = _answers(start, since)
            yield from (Record(key, int(level), NEVER) for key, level in forever.items())
            batches = -(-len(names) // _BATCH)
            for first in range(batches):
                # A sample of all, so that the first one tells how many there are.
                batch = names[first::batches]
                pipeline = self._pipeline()
                for name, _ in batch:
                    pipeline.hgetall(name)
                answers = _answers(pipeline, since)
                if not first:
                    told.about = len(forever) + sum(map(len, answers)) * batches
                for (_, expires), members in zip(batch, answers, strict=True):
                    for key, level in members.items():
                        yield Record(key, int(level), int(expires))

    def _pipeline(self) -> Any:
        """Questions to one server, which says first how far it has come."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hmget(self._meta, ["epoch", "seq"])
        return pipeline

    def tail(self, after: Position, block: float) -> list[FeedItem]:
        # A block as long as the client's own timeout would look like a dead server.
        block = min(block, ANSWER_TIMEOUT / 2)
        # Asked first, so that a feed that was replaced is seen before its items are.
        state = self.state()
        _check_continues(after, state.position)
        if not state.ready:
            raise DenylistNotReady
        with self._link.use(self._meta, patient=True):
            answer: Any = self._client.xread(
                {self._feed: f"{after.seq}-0"},
                count=_TAIL_COUNT,
                block=int(block * 1000) or None,
            )
        items = [_item(item_id, fields) for _, batch in answer or () for item_id, fields in batch]
        if items and items[0].seq != after.seq + 1:
            raise FeedGap(f"the feed goes on at {items[0].seq} after {after.seq}")
        if not items and state.position.seq > after.seq:
            raise FeedGap("the feed was trimmed past the reader")
        return items

    def close(self) -> None:
        self._client.close()


class _Records:
    """The records of a snapshot, once, and about how many there are."""

    def __init__(
        self, read: Callable[[Position, _Records], Iterator[Record]], since: Position
    ) -> None:
        self.about = 0
        self._records = read(since, self)

    def __iter__(self) -> Iterator[Record]:
        return self._records

    def __length_hint__(self) -> int:
        return self.about


def _answers(pipeline: Any, since: Position) -> list[Any]:
    """The answers of a server that has come as far as `since`.

    Each pipeline may reach another one: a read replica, or a new primary that lags behind.
    """
    found: list[Any]
    (epoch, seq), *found = pipeline.execute()
    if epoch is None or epoch.decode() != since.epoch or int(seq) < since.seq:
        raise DenylistWentBack
    return found


def _check_continues(after: Position, now: Position) -> None:
    if now.epoch != after.epoch:
        raise FeedGap("the denylist has another epoch")
    if now.seq < after.seq or (now.seq == after.seq and now.chain != after.chain):
        raise FeedGap("the denylist went back in time")


_REFUSALS: dict[str, type[RevocationError]] = {
    "NOEPOCH": DenylistLost,
    "NOTREADY": DenylistNotReady,
    "WENTBACK": DenylistWentBack,
    "REPLACED": DenylistReplaced,
    "NEWERFORMAT": DenylistNewer,
    "LATE": HeartbeatLate,
    "AHEAD": ClocksApart,
}
"""What our scripts answer instead of a result."""


def _seen(known: Position | None) -> tuple[str, str, str]:
    return ("", "0", "") if known is None else (known.epoch, str(known.seq), known.chain)


def _position(fields: list[Any]) -> Position:
    epoch, seq, chain = fields
    return Position(epoch.decode(), int(seq), chain.decode())


def _state(fields: list[Any]) -> DenylistState:
    epoch, seq, chain, watermark, salt, ready = fields
    return DenylistState(_position([epoch, seq, chain]), int(watermark), salt, ready == 1)


def _item(item_id: bytes, fields: dict[bytes, bytes]) -> FeedItem:
    return FeedItem(
        seq=int(item_id.partition(b"-")[0]),
        chain=fields[b"c"].decode(),
        records=fields[b"r"],
        sent=int(fields[b"t"]),
    )
