"""The denylist on Redis: packed, bucketed records, and a stream as the feed."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import redis

from .denylist import FEED_CAP, FEED_WINDOW, Snapshot
from .entry import NEVER, Entry, Kind, Probe, Record, pack, refusal, to_record
from .errors import (
    DenylistLost,
    DenylistNotReady,
    DenylistReplaced,
    DenylistUnavailable,
    DenylistWentBack,
    FeedGap,
)
from .feed import DenylistState, FeedItem, Position
from .redis_client import ANSWER_TIMEOUT, load_script, unavailable_as

_BATCH = 512
_TAIL_COUNT = 1000


class RedisDenylist:
    """Implements `Denylist`; every change is one Lua call on keys of one hash tag."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        namespace: str = "gatepass",
        clock: Callable[[], float] | None = None,
        feed_window: int = FEED_WINDOW,
        feed_cap: int = FEED_CAP,
    ) -> None:
        """`clock` (seconds) replaces the server's own time, for tests."""
        self._client = client
        self._clock = clock
        self._feed_window = feed_window
        self._feed_cap = feed_cap
        base = f"{namespace}:{{denylist}}"
        self._feed = f"{base}:feed"
        self._shards = f"{base}:shards"
        self._forever = f"{base}:forever"
        self._meta = base
        self._keys = [self._meta, self._feed, self._shards, self._forever, f"{base}:buckets"]
        prelude = load_script("revocation", "prelude")
        (
            self._initialise,
            self._replace,
            self._mark_ready,
            self._add,
            self._heartbeat,
            self._lookup,
        ) = (
            client.register_script(prelude + load_script("revocation", name))
            for name in ("initialise", "replace", "mark_ready", "add", "heartbeat", "lookup")
        )

    def _run(self, script: Any, *args: Any) -> Any:
        now = "" if self._clock is None else str(int(self._clock() * 1000))
        with unavailable_as(DenylistUnavailable):
            try:
                return script(keys=self._keys, args=[now, *args])
            except redis.ResponseError as error:
                if "NOEPOCH" in str(error):
                    raise DenylistLost from None
                if "NOTREADY" in str(error):
                    raise DenylistNotReady from None
                if "WENTBACK" in str(error):
                    raise DenylistWentBack from None
                if "REPLACED" in str(error):
                    raise DenylistReplaced from None
                raise

    def initialise(self, watermark: int) -> DenylistState:
        epoch, salt = secrets.token_urlsafe(16), secrets.token_bytes(32)
        return _state(self._run(self._initialise, epoch, watermark, salt))

    def replace(self, watermark: int) -> DenylistState:
        epoch, salt = secrets.token_urlsafe(16), secrets.token_bytes(32)
        return _state(self._run(self._replace, epoch, watermark, salt))

    def mark_ready(self, epoch: str | None = None) -> None:
        self._run(self._mark_ready, epoch or "")

    def state(self) -> DenylistState:
        with unavailable_as(DenylistUnavailable):
            fields = self._client.hmget(
                self._meta, ["epoch", "seq", "chain", "watermark", "salt", "ready"]
            )
        return _state(cast("list[Any]", fields))

    def add(self, entries: Sequence[Entry]) -> Position:
        salt = self.state().salt
        blob = pack(to_record(entry, salt) for entry in entries)
        return _position(self._run(self._add, blob, NEVER, salt))

    def lookup(self, probe: Probe) -> Kind | None:
        watermark, *levels = self._run(self._lookup, probe.salt, *probe.keys)
        found = dict(zip(probe.keys, levels, strict=True))
        return refusal(probe, found.__getitem__, watermark)

    def heartbeat(self, interval: float, known: Position | None = None) -> Position:
        seen = ("", "0", "") if known is None else (known.epoch, str(known.seq), known.chain)
        window = self._feed_window * 1000
        return _position(
            self._run(self._heartbeat, int(interval * 1000), window, self._feed_cap, *seen)
        )

    def snapshot(self) -> Snapshot:
        return Snapshot(self.state(), self._records())

    def _records(self) -> Iterator[Record]:
        with unavailable_as(DenylistUnavailable):
            forever = cast("dict[bytes, bytes]", self._client.hgetall(self._forever))
            yield from (Record(key, int(level), NEVER) for key, level in forever.items())
            names = cast(
                "list[tuple[bytes, float]]",
                self._client.zrange(self._shards, 0, -1, withscores=True),
            )
            for start in range(0, len(names), _BATCH):
                batch = names[start : start + _BATCH]
                pipeline = self._client.pipeline(transaction=False)
                for name, _ in batch:
                    pipeline.hgetall(cast("str", name))
                for (_, expires), members in zip(batch, pipeline.execute(), strict=True):
                    for key, level in members.items():
                        yield Record(key, int(level), int(expires))

    def tail(self, after: Position, block: float) -> list[FeedItem]:
        # A block as long as the client's own timeout would look like a dead server.
        block = min(block, ANSWER_TIMEOUT / 2)
        # Asked first, so that a feed that was replaced is seen before its items are.
        state = self.state()
        _check_continues(after, state.position)
        with unavailable_as(DenylistUnavailable):
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


def _check_continues(after: Position, now: Position) -> None:
    if now.epoch != after.epoch:
        raise FeedGap("the denylist has another epoch")
    if now.seq < after.seq or (now.seq == after.seq and now.chain != after.chain):
        raise FeedGap("the denylist went back in time")


def _position(fields: list[Any]) -> Position:
    epoch, seq, chain = fields
    return Position(epoch.decode(), int(seq), chain.decode())


def _state(fields: list[Any]) -> DenylistState:
    epoch, seq, chain, watermark, salt, ready = fields
    if epoch is None:
        raise DenylistLost
    return DenylistState(_position([epoch, seq, chain]), int(watermark), salt, ready == b"1")


def _item(item_id: bytes, fields: dict[bytes, bytes]) -> FeedItem:
    return FeedItem(
        seq=int(item_id.partition(b"-")[0]),
        chain=fields[b"c"].decode(),
        records=fields[b"r"],
        sent=int(fields[b"t"]),
    )
