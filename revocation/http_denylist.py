"""The denylist as an issuer shows it over HTTP: the reading half of `Denylist`.

Nothing is believed but what the issuer has signed. What says how things stand now (`state`,
`lookup`) carries a nonce of ours back, so that no earlier answer passes for it; the feed is taken
up to what such an answer says. A proxy that delays or replays therefore shows as staleness.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from .denylist import Snapshot, VerifyMessage
from .entry import Kind, Probe, unpack
from .errors import DenylistNotReady, DenylistReadOnly, DenylistUnavailable, FeedGap
from .feed import DenylistState, FeedItem, Position, next_chain
from .http_connection import ANSWER_TIMEOUT, Connections, FeedAddress
from .http_snapshot import SnapshotRecords, download
from .http_stream import Event, EventStream, StreamEnded
from .http_wire import (
    EVENTS_TYPE,
    LOOKUP_TYPE,
    MAX_EVENT,
    SNAPSHOT_TYPE,
    STATE_TYPE,
    BadMessage,
    cursor,
    digest,
    lookup_question,
    read_state,
    unpack_items,
)
from .packed_copy import MOST_ENTRIES

_TAIL_COUNT = 1000

Found = TypeVar("Found")


class HttpDenylist:
    """Implements what followers need of `Denylist`; the methods that write raise."""

    def __init__(
        self, address: FeedAddress, verify: VerifyMessage, *, most: int = MOST_ENTRIES
    ) -> None:
        """`most` entries of a snapshot are read at the most. Raises `BadDenylistUrl`."""
        self._connections = Connections(address)
        self._verify = verify
        self._most = most
        self._told: DenylistState | None = None
        self._latest: Position | None = None
        """Where the denylist stood when it was asked last: no item may be of another history."""
        self._stream: EventStream | None = None
        self._reached: Position | None = None
        self._reading = threading.Lock()
        self._owner = os.getpid()

    # How things stand.

    def state(self) -> DenylistState:
        self._told = self._ask_state()
        return self._told

    def _ask_state(self) -> DenylistState:
        nonce = secrets.token_urlsafe(16)
        answer = self._connections.ask(f"/state?nonce={nonce}")
        state = _read(lambda: read_state(self._answered(answer, STATE_TYPE, nonce)))
        self._latest = state.position
        return state

    def lookup(self, probe: Probe, known: Position | None = None) -> Kind | None:
        nonce = secrets.token_urlsafe(16)
        question = json.dumps(lookup_question(probe, known) | {"nonce": nonce}).encode()
        answer = self._connections.ask("/lookup", question)
        claims = self._answered(answer, LOOKUP_TYPE, nonce)
        # What was asked is a part of the answer: a proxy could have put another token in its place.
        if claims.get("asked") != digest(question):
            raise DenylistUnavailable("the feed's answer is to another question")
        found = claims.get("kind", "")
        return None if found is None else _read(lambda: Kind(found))

    def _answered(self, answer: bytes, typ: str, nonce: str) -> Mapping[str, Any]:
        claims = self._verify(_ascii(answer), typ)
        if claims.get("nonce") != nonce:
            raise DenylistUnavailable("the feed's answer is to another question")
        return claims

    # The contents.

    def snapshot(self) -> Snapshot:
        claims, records = self._download()
        then = _read(lambda: read_state(claims))
        # Asked afterwards: a snapshot may come out of a cache, and is then led on to here; one that
        # is further than the denylist is of a history that has been given up.
        now = self._ask_state()
        if then.position.epoch != now.position.epoch or then.salt != now.salt:
            raise DenylistUnavailable("the feed's snapshot is of another epoch")
        position, watermark = then.position, max(then.watermark, now.watermark)
        if not _fits(now.position, position):
            raise DenylistUnavailable("the feed's snapshot is of another history")
        while position.seq < now.position.seq:
            for item in self._next_items(position, ANSWER_TIMEOUT):
                position = _after(position, item)
                news = list(unpack(item.records))
                records.add(record for record in news if record.kind is not Kind.EPOCH)
                epochs = (record.level for record in news if record.kind is Kind.EPOCH)
                watermark = max((watermark, *epochs))
        return Snapshot(DenylistState(position, watermark, now.salt, now.ready), records)

    def _next_items(self, position: Position, wait: float) -> Sequence[FeedItem]:
        try:
            with self._lock():
                items = self._read_stream(position, wait)
        except FeedGap as gap:
            # A cached snapshot that the feed has left behind: there will be another one.
            raise DenylistUnavailable(f"the feed does not lead on: {gap}") from None
        if not items:
            raise DenylistUnavailable("the feed does not come as far as the denylist is")
        return items

    def _download(self) -> tuple[Mapping[str, Any], SnapshotRecords]:
        head, body = download(self._connections, self._most)
        claims = self._verify(_ascii(head), SNAPSHOT_TYPE)
        if claims.get("sha256") != digest(body):
            raise DenylistUnavailable("the feed's snapshot is not the one that was signed")
        return claims, _read(lambda: SnapshotRecords(body, self._most))

    # The feed.

    def tail(self, after: Position, block: float) -> list[FeedItem]:
        owed = self._owed(after, afresh=block <= 0)
        with self._lock():
            if owed <= after.seq:
                return self._read_stream(after, block)
            items: list[FeedItem] = []
            position = after
            while position.seq < owed and len(items) < _TAIL_COUNT:
                news = self._read_stream(position, max(block, ANSWER_TIMEOUT))
                if not news:
                    self._drop_stream()
                    raise DenylistUnavailable("the feed does not come as far as the denylist is")
                items += news
                position = Position(after.epoch, news[-1].seq, news[-1].chain)
            return items

    def _owed(self, after: Position, *, afresh: bool) -> int:
        """How far the feed goes, by the last answer that nobody has looked at, if there is one.

        Raises `FeedGap`, `DenylistNotReady`.
        """
        told, self._told = self._told, None
        if told is None and not afresh:
            return after.seq
        if told is None or afresh or not _fits(told.position, after):
            # An older answer than `after` says nothing against it.
            told = self._ask_state()
        if not _fits(told.position, after):
            raise FeedGap("the denylist went back in time or has another epoch")
        if not told.ready:
            raise DenylistNotReady
        return told.position.seq

    def _read_stream(self, after: Position, wait: float) -> list[FeedItem]:
        deadline, ended = time.monotonic() + wait, False
        while True:
            stream = self._stream_from(after)
            try:
                event = stream.next(max(deadline - time.monotonic(), 0.0))
                if event is None:
                    return []
                items = self._items_of(event, after)
            except StreamEnded:
                self._drop_stream()
                if ended:  # one that has just begun; the pause is for the follower to make
                    raise DenylistUnavailable("the feed ends its streams at once") from None
                ended = True
                continue
            except BaseException:
                self._drop_stream()
                raise
            if items:
                self._reached = Position(after.epoch, items[-1].seq, items[-1].chain)
                return items

    def _stream_from(self, after: Position) -> EventStream:
        stream = self._stream
        if stream is not None and stream.usable and self._reached == after:
            return stream
        self._drop_stream()
        self._stream = EventStream(self._connections, f"/events?after={cursor(after)}")
        self._reached = after
        return self._stream

    def _lock(self) -> threading.Lock:
        if self._owner != os.getpid():
            # A child's: whoever held the parent's lock is not here to let go of it.
            self._reading, self._owner = threading.Lock(), os.getpid()
        return self._reading

    def _drop_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = self._reached = None

    def _items_of(self, event: Event, after: Position) -> list[FeedItem]:
        """The items of an event that are new to a reader who stands there."""
        if len(event.data) != 2 or len(event.data[1]) > 2 * MAX_EVENT:
            raise DenylistUnavailable("the feed sends an event of another form")
        claims = self._verify(_ascii(event.data[0]), EVENTS_TYPE)
        try:
            body = base64.b64decode(event.data[1], validate=True)
        except binascii.Error:
            raise DenylistUnavailable("the feed sends an event of another form") from None
        if claims.get("sha256") != digest(body):
            raise DenylistUnavailable("the feed's items are not those that were signed")
        if claims.get("epoch") != after.epoch:
            raise FeedGap("the denylist has another epoch")
        items = _read(lambda: list(unpack_items(body)))
        # Several readers share an event, and each has come as far as it has. What an issuer signed
        # before a failover it may have taken back since.
        places = [at for at in (self._latest, after) if at and at.epoch == after.epoch]
        chains = {at.seq: at.chain for at in places}
        if any(item.chain != chains.get(item.seq, item.chain) for item in items):
            raise FeedGap("the denylist has another history")
        news = [item for item in items if item.seq > after.seq]
        if news and news[0].seq != after.seq + 1:
            raise FeedGap(f"the feed goes on at {news[0].seq} after {after.seq}")
        return news

    def close(self) -> None:
        with self._lock():
            self._drop_stream()
        self._connections.close()

    # What is not for readers.

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise DenylistReadOnly

    initialise = replace = mark_ready = add = heartbeat = time = _refuse


def _fits(now: Position, after: Position) -> bool:
    """Whether a feed that has come to `now` may hold `after`."""
    if now.epoch != after.epoch or now.seq < after.seq:
        return False
    return now.seq > after.seq or now.chain == after.chain


def _after(position: Position, item: FeedItem) -> Position:
    chain = next_chain(position.chain, item.seq, item.records)
    if item.seq != position.seq + 1 or chain != item.chain:
        raise DenylistUnavailable("the feed has another history than its snapshot")
    return Position(position.epoch, item.seq, chain)


def _ascii(text: bytes) -> str:
    try:
        return text.decode("ascii")
    except UnicodeDecodeError:
        raise DenylistUnavailable("the feed's message is not ASCII") from None


def _read(read: Callable[[], Found]) -> Found:
    try:
        return read()
    except (BadMessage, ValueError):
        raise DenylistUnavailable("the feed's message is of another form") from None
