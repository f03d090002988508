"""Follows the denylist once for each process, and shows what comes to every open stream."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog

from keys import KeyRingError
from revocation import Denylist, DenylistUnavailable, FeedGap, FeedItem, Position, RevocationError
from revocation.feed import next_chain
from revocation.http_wire import EVENT_SPLIT, MAX_EVENT
from revocation.jitter import jittered

from .signer import FeedSigner

log = structlog.get_logger("gatepass.issuer")

STREAM_LIFETIME = 300.0
"""Seconds after which a stream ends, about; its reader goes on from its cursor in another one."""
BACKLOG_BYTES = 16 << 20
"""Of events that are kept for readers that lag behind; whoever lags further is dropped."""
BATCH_INTERVAL = 0.005
"""Seconds between two events at least, if much is revoked: each costs a signature here and a
verification at every reader. One that comes alone is passed on at once."""
_BLOCK = 1.0
_FIRST_BACKOFF = 0.05
_MAX_BACKOFF = 1.0
_NO_HISTORY = -1
"""Ends a stream once what is in the denylist has been sent; who asks again finds a backlog."""


class FeedOverloaded(DenylistUnavailable):
    """This process has as many streams as it may have, or is about to stop."""

    code = "feed_overloaded"

    def __init__(self) -> None:
        super().__init__("this process serves no further stream just now")


@dataclass(frozen=True, slots=True)
class _Batch:
    first: int
    last: Position
    event: bytes


class FeedHub:
    """One reader of the denylist, and a bounded backlog that every stream reads from."""

    def __init__(
        self,
        denylist: Denylist,
        signer: FeedSigner,
        *,
        streams: int,
        lifetime: float = STREAM_LIFETIME,
        backlog_bytes: int = BACKLOG_BYTES,
    ) -> None:
        """`streams` at most at a time, each `lifetime` seconds long at most."""
        self._denylist = denylist
        self._signer = signer
        self._places = threading.BoundedSemaphore(streams)
        self._lifetime = lifetime
        self._backlog_bytes = backlog_bytes
        self._changed = threading.Condition()
        self._backlog: deque[_Batch] = deque()
        self._held = 0
        self._left_behind: int | None = None
        """The `seq` up to which the backlog lacks items; None while nothing is followed."""
        self._epoch: str | None = None
        """Of everything in the backlog."""
        self._history = 0
        """Counts what the backlog was begun anew: no stream goes on from one to the next."""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # The one reader.

    def start(self) -> None:
        """Follow from a background thread. Threads do not survive a fork: start in the worker."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="gatepass-feed", daemon=True)
        self._thread.start()

    def end_streams(self) -> None:
        """End every stream and begin no other: the process is about to stop."""
        self._stopping.set()
        self._begin_anew(None)

    def stop(self) -> None:
        self.end_streams()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    def _run(self) -> None:
        backoff, told = _FIRST_BACKOFF, set[str]()
        while not self._stopping.is_set():
            try:
                position = self._denylist.state().position
                self._begin_anew(position)
                while not self._stopping.is_set():
                    items = self._denylist.tail(position, _BLOCK)
                    taken_at = time.monotonic()
                    position = self._take(position, items)
                    if items:
                        self._stopping.wait(BATCH_INTERVAL - (time.monotonic() - taken_at))
                    backoff = _FIRST_BACKOFF
                    told.clear()
            except (RevocationError, KeyRingError) as error:
                if error.code not in told and not self._stopping.is_set():
                    log.warning("feed_interrupted", error=str(error))
                told.add(error.code)
            except Exception:
                log.exception("feed_failed")
            # Readers ask again, and are told why there is nothing.
            self._begin_anew(None)
            self._stopping.wait(backoff)
            backoff = min(backoff * 2, _MAX_BACKOFF)

    def _begin_anew(self, position: Position | None) -> None:
        with self._changed:
            self._backlog.clear()
            self._held = 0
            self._left_behind = None if position is None else position.seq
            self._epoch = None if position is None else position.epoch
            self._history += 1
            self._changed.notify_all()

    def _take(self, position: Position, items: Sequence[FeedItem]) -> Position:
        for batch in self._batches(position, items):
            with self._changed:
                self._backlog.append(batch)
                self._held += len(batch.event)
                while self._held > self._backlog_bytes and len(self._backlog) > 1:
                    dropped = self._backlog.popleft()
                    self._held -= len(dropped.event)
                    self._left_behind = dropped.last.seq
                self._changed.notify_all()
            position = batch.last
        return position

    def _batches(self, position: Position, items: Sequence[FeedItem]) -> Iterator[_Batch]:
        """Items as signed events, none too large. Raises `FeedGap`, `keys.KeyRingError`."""
        for some in _split(items):
            first = position.seq + 1
            for item in some:
                position = _after(position, item)
            yield _Batch(first, position, self._signer.event(position.epoch, some))

    # The streams.

    def open(self, after: Position) -> FeedStream:
        """A stream of what comes after a position.

        Raises `FeedOverloaded`, `FeedGap`, `DenylistNotReady`, `DenylistUnavailable`.
        """
        place = self.take_place()
        try:
            # It says itself whether the feed goes on from there, and what has come since.
            items = self._denylist.tail(after, 0)
            require_same_history(after, items)
            history = self._wait_until_followed(after.epoch)
        except BaseException:
            place.release()
            raise
        return FeedStream(self._events(history, after, items), place)

    def _wait_until_followed(self, epoch: str) -> int:
        """Which history the backlog is of.

        After a start or an outage there is none at first, and for a moment after a new epoch was
        declared one of the epoch before, whose numbers say nothing in the new one.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._epoch == epoch or self._thread is None, _MAX_BACKOFF
            )
            return self._history if self._epoch in {epoch, None} else _NO_HISTORY

    def take_place(self) -> Place:
        """One of the places that the process has for what lasts. Raises `FeedOverloaded`."""
        if self._stopping.is_set() or not self._places.acquire(blocking=False):
            raise FeedOverloaded
        return Place(self._places)

    def _events(
        self, history: int, position: Position, items: Sequence[FeedItem]
    ) -> Iterator[bytes]:
        # Jitter keeps streams that began together from ending together.
        end = time.monotonic() + jittered(self._lifetime, 0.2)
        # Its head is sent with the first bytes.
        yield b":\n\n"
        try:
            while True:
                for batch in self._batches(position, items):
                    position = batch.last
                    yield batch.event
                if self._covers(position):
                    break
                items = self._denylist.tail(position, 0)
                if not items:
                    break
        except (RevocationError, KeyRingError):
            return  # whoever asks again is told why
        while (left := end - time.monotonic()) > 0:
            batches = self._wait(history, position, left)
            if batches is None:
                return
            for batch in batches:
                position = batch.last
                yield batch.event

    def _covers(self, position: Position) -> bool:
        with self._changed:
            return self._left_behind is not None and position.seq >= self._left_behind

    def _wait(self, history: int, position: Position, timeout: float) -> list[_Batch] | None:
        """What the backlog has after a position, None where the stream is to end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._history != history or self._has_more(position), timeout
            )
            if self._history != history or self._left_behind is None:
                return None
            if position.seq < self._left_behind:
                return None  # too slow: it would miss something
            found = []
            for batch in reversed(self._backlog):
                if batch.last.seq <= position.seq:
                    break
                found.append(batch)
            return found[::-1]

    def _has_more(self, position: Position) -> bool:
        return bool(self._backlog) and self._backlog[-1].last.seq > position.seq


def require_same_history(after: Position, items: Sequence[FeedItem]) -> None:
    """Raises `FeedGap` where the items are of another history than the position.

    A stream could only end there, at once, and its reader would ask for it again for ever.
    """
    for item in items:
        after = _after(after, item)


class Place:
    """One of a bounded number; let go of once, however often that is said."""

    def __init__(self, places: threading.BoundedSemaphore) -> None:
        self._places: threading.BoundedSemaphore | None = places

    def release(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            places.release()


class FeedStream:
    """What one gateway reads; closing it gives its place to another."""

    def __init__(self, events: Iterator[bytes], place: Place) -> None:
        self._events = events
        self._place = place

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._events)

    def close(self) -> None:
        self._place.release()


def _after(position: Position, item: FeedItem) -> Position:
    chain = next_chain(position.chain, item.seq, item.records)
    if item.seq != position.seq + 1 or chain != item.chain:
        raise FeedGap("the feed has another history")
    return Position(position.epoch, item.seq, chain)


def _split(items: Sequence[FeedItem]) -> Iterator[Sequence[FeedItem]]:
    some: list[FeedItem] = []
    size = 0
    for item in items:
        if len(item.records) > MAX_EVENT // 2:
            raise FeedGap("an item is too large for an event")
        if some and size + len(item.records) > EVENT_SPLIT:
            yield some
            some, size = [], 0
        some.append(item)
        size += len(item.records) + 40
    if some:
        yield some
