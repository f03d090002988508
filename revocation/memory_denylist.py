"""The denylist in one process's memory: the same protocol, lost with the process."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from .denylist import FEED_CAP, FEED_WINDOW, Snapshot
from .entry import Entry, Kind, Probe, Record, pack, refusal, to_record
from .errors import (
    DenylistLost,
    DenylistNotReady,
    DenylistReplaced,
    DenylistWentBack,
    FeedGap,
    HeartbeatLate,
)
from .feed import DenylistState, FeedItem, Position, next_chain

_PUT_BACK = 1.0
"""Seconds; less is within what entries outlive their tokens by."""
_LATE = 1.0
"""Seconds for which what the caller of a heartbeat read counts, where the interval is shorter."""


class MemoryDenylist:
    """Implements `Denylist` for the threads of one process."""

    _shared: ClassVar[dict[str, MemoryDenylist]] = {}
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        feed_window: int = FEED_WINDOW,
        feed_cap: int = FEED_CAP,
    ) -> None:
        self._clock = clock
        self._feed_window = feed_window
        self._changed = threading.Condition()
        self._state: DenylistState | None = None
        self._records: dict[bytes, Record] = {}
        self._feed: deque[FeedItem] = deque(maxlen=feed_cap)
        self._last_heartbeat = 0.0
        self._acknowledged: tuple[int, int] | None = None

    @classmethod
    def shared(cls, url: str, *, clock: Callable[[], float] = time.time) -> MemoryDenylist:
        """The one denylist of this process under a URL: issuer and gateway name it alike."""
        with cls._shared_lock:
            return cls._shared.setdefault(url, cls(clock=clock))

    def initialise(self, watermark: int) -> DenylistState:
        with self._changed:
            return self._state or self._begin(watermark)

    def replace(self, watermark: int) -> DenylistState:
        with self._changed:
            return self._begin(watermark)

    def _begin(self, watermark: int) -> DenylistState:
        position = Position(secrets.token_urlsafe(16), 0, "")
        state = DenylistState(position, watermark, secrets.token_bytes(32), ready=False)
        self._state = state
        self._records.clear()
        self._feed.clear()
        self._last_heartbeat = 0.0
        self._acknowledged = None
        return state

    def mark_ready(
        self,
        epoch: str | None = None,
        seen: Position | None = None,
        reached: Position | None = None,
    ) -> Position:
        with self._changed:
            state = self._require_state()
            if epoch not in (None, state.position.epoch):
                raise DenylistReplaced
            self._require_held(reached)
            position = state.position
            if seen is not None and seen.epoch == epoch and position.seq < seen.seq:
                position = replace(position, seq=seen.seq)
            self._state = replace(state, ready=True, position=position)
            if position.seq > state.position.seq:
                # The watermark as it stands: an empty item would be a heartbeat.
                watermark = self._require_state().watermark
                self._append(pack([to_record(Entry.epoch("", watermark), state.salt)]))
            return self._require_state().position

    def _require_ready(self) -> DenylistState:
        state = self._require_state()
        if not state.ready:
            raise DenylistNotReady
        return state

    def state(self) -> DenylistState:
        with self._changed:
            return self._require_state()

    def _require_state(self) -> DenylistState:
        if self._state is None:
            raise DenylistLost
        return self._state

    def add(
        self,
        entries: Sequence[Entry],
        known: Position | None = None,
        reached: Position | None = None,
    ) -> Position:
        with self._changed:
            state = self._require_state()
            self._require_held(known)
            self._require_held(reached)
            records = [to_record(entry, state.salt) for entry in entries]
            changed = [record for record in records if self._merge(record)]
            if changed:
                self._append(pack(changed))
            return self._require_state().position

    def _require_held(self, known: Position | None) -> None:
        """Un-ready it, and raise `DenylistWentBack`, unless its history holds a position."""
        if not self._holds(known):
            self._state = replace(self._require_state(), ready=False)
            raise DenylistWentBack

    def _merge(self, record: Record) -> bool:
        state = self._require_state()
        if record.kind is Kind.EPOCH:
            if record.level <= state.watermark:
                return False
            self._state = replace(state, watermark=record.level)
            return True
        now = self._clock()
        if record.expires <= now:
            return False
        old = self._records.get(record.key)
        # One that has expired is as good as gone; readers may have let it go already.
        if old is None or old.expires <= now:
            self._records[record.key] = record
            return True
        level, expires = max(old.level, record.level), max(old.expires, record.expires)
        if (level, expires) == (old.level, old.expires):
            return False
        self._records[record.key] = Record(record.key, level, expires)
        return True

    def _append(self, records: bytes) -> None:
        state = self._require_state()
        seq = state.position.seq + 1
        chain = next_chain(state.position.chain, seq, records)
        self._feed.append(FeedItem(seq, chain, records, int(self._clock() * 1000)))
        position = Position(state.position.epoch, seq, chain)
        self._state = replace(state, position=position)
        self._changed.notify_all()

    def lookup(self, probe: Probe, known: Position | None = None) -> Kind | None:
        with self._changed:
            state = self._require_ready()
            if probe.salt != state.salt:
                raise DenylistReplaced
            if not self._holds(known):
                raise DenylistWentBack
            return refusal(probe, self._level, state.watermark)

    def _level(self, key: bytes) -> int:
        record = self._records.get(key)
        return record.level if record and record.expires > self._clock() else 0

    def time(self) -> float:
        return self._clock()

    def heartbeat(
        self, interval: float, known: Position | None = None, asked: float | None = None
    ) -> Position:
        with self._changed:
            state = self._require_ready()
            self._require_held(known)
            now = self._clock()
            if now < self._last_heartbeat - _PUT_BACK:
                self._last_heartbeat = 0.0
                self._state = replace(self._require_state(), ready=False)
                raise DenylistWentBack
            if now - self._last_heartbeat >= interval or now < self._last_heartbeat:
                if asked is not None and not 0 <= now - asked <= max(interval, _LATE):
                    raise HeartbeatLate
                self._last_heartbeat = now
                self._append(b"")
                self._trim(now, known)
                state = self._require_state()
            return state.position

    def _holds(self, known: Position | None) -> bool:
        if known is None:
            return True
        if known.epoch != self._require_state().position.epoch:
            return False
        if known.seq == 0:
            return True
        for item in reversed(self._feed):
            if item.seq <= known.seq:
                return (item.seq, item.chain) == (known.seq, known.chain)
        return False

    def _trim(self, now: float, known: Position | None) -> None:
        oldest = (now - self._feed_window) * 1000
        kept = self._require_state().position.seq
        if known is not None:
            # What somebody has acknowledged stays: others hold this store against it. So does what
            # was acknowledged before that: whoever was stopped may be on his way here with it.
            acknowledged, before = self._acknowledged or (known.seq, known.seq)
            if known.seq > acknowledged:
                acknowledged, before = known.seq, acknowledged
            self._acknowledged = acknowledged, before
            kept = min(known.seq, before)
        while self._feed and self._feed[0].sent < oldest and self._feed[0].seq < kept:
            self._feed.popleft()
        expired = [key for key, record in self._records.items() if record.expires <= now]
        for key in expired:
            del self._records[key]

    def snapshot(self) -> Snapshot:
        with self._changed:
            now = self._clock()
            live = [record for record in self._records.values() if record.expires > now]
            return Snapshot(self._require_state(), live)

    def tail(self, after: Position, block: float) -> list[FeedItem]:
        with self._changed:
            position = self._require_state().position
            if position.epoch != after.epoch or position.seq < after.seq:
                raise FeedGap("the denylist went back in time or has another epoch")
            self._require_ready()
            if position.seq == after.seq:
                if position.chain != after.chain:
                    raise FeedGap("the denylist has another history")
                self._changed.wait(block)
            # Newest last: walk back only as far as needed.
            items: list[FeedItem] = []
            for item in reversed(self._feed):
                if item.seq <= after.seq:
                    break
                items.append(item)
            items.reverse()
            if not items and self._require_state().position.seq == after.seq:
                return []
            if not items or items[0].seq != after.seq + 1:
                raise FeedGap("the feed was trimmed past the reader")
            return items

    def close(self) -> None:
        """Nothing to release."""
