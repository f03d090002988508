"""Server-sent events from a connection, read as they come and without waiting longer than asked."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass

from .errors import DenylistUnavailable
from .http_connection import Connections, unavailable_as_feed
from .http_wire import MAX_EVENT

OPEN_TIMEOUT = 3.0
"""Seconds until the head of a stream is there."""
SILENCE = 10.0
"""Seconds without a byte after which a connection counts as dead; heartbeats are more frequent."""

_MAX_LINE = 2 * MAX_EVENT
_MAX_CHUNK_LINE = 256
_READ = 65_536


class StreamEnded(Exception):
    """The issuer has ended the stream, as it does from time to time."""


@dataclass(frozen=True, slots=True)
class Event:
    """The lines of data of one event."""

    data: tuple[bytes, ...]


class EventStream:
    """One connection over which events come."""

    def __init__(self, connections: Connections, path: str) -> None:
        """Raises `RevocationError`."""
        deadline = time.monotonic() + OPEN_TIMEOUT
        self._connection, response = connections.open(
            path, {"Accept": "text/event-stream"}, deadline, buffered=False
        )
        if response.getheader("Content-Type", "").partition(";")[0] != "text/event-stream":
            self._connection.close()
            raise DenylistUnavailable("the feed answers with something else than events")
        self._socket = response.socket
        self._response = response
        self._chunks = _Dechunker() if response.chunked else None
        self._events = _EventParser()
        self._heard_at = time.monotonic()
        self._owner = os.getpid()

    @property
    def usable(self) -> bool:
        """Whether this process opened it: two that read one connection would each miss half."""
        return self._owner == os.getpid()

    def next(self, wait: float) -> Event | None:
        """The next event, None if none has come within `wait` seconds.

        Raises `StreamEnded`, `DenylistUnavailable`.
        """
        deadline = time.monotonic() + wait
        while True:
            event = self._events.take()
            if event is not None:
                return event
            if self._chunks is not None and self._chunks.ended:
                raise StreamEnded
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            with unavailable_as_feed():
                self._socket.settimeout(left)
                try:
                    received = self._socket.recv(_READ)
                except TimeoutError:
                    if time.monotonic() - self._heard_at > SILENCE:
                        raise
                    return None
            if not received:
                raise StreamEnded
            self._heard_at = time.monotonic()
            if self._chunks is not None:
                received = self._chunks.feed(received)
            self._events.feed(received)

    def close(self) -> None:
        self._response.close()
        self._connection.close()


class _Dechunker:
    """Undoes the chunked coding, whatever pieces it comes in (RFC 9112 section 7.1)."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0
        """Bytes of the chunk that are still to come, its line end included."""
        self.ended = False

    def feed(self, received: bytes) -> bytes:
        """What the pieces so far hold. Raises `DenylistUnavailable`."""
        self._buffer += received
        found = bytearray()
        while self._buffer and not self.ended:
            if self._left:
                piece = self._buffer[: self._left]
                del self._buffer[: len(piece)]
                # The last two bytes of a chunk are its line end.
                content = max(0, min(len(piece), self._left - 2))
                found += piece[:content]
                self._left -= len(piece)
                continue
            line, end, _ = self._buffer.partition(b"\n")
            if not end:
                if len(self._buffer) > _MAX_CHUNK_LINE:
                    raise DenylistUnavailable("the feed's chunks cannot be read")
                break
            size = bytes(line).partition(b";")[0].strip()
            if not size or len(size) > 8 or size.strip(b"0123456789abcdefABCDEF"):
                raise DenylistUnavailable("the feed's chunks cannot be read")
            del self._buffer[: len(line) + 1]
            self.ended = int(size, 16) == 0
            self._left = int(size, 16) + 2
        return bytes(found)


class _EventParser:
    """Takes events out of a byte stream (HTML, section 9.2.6); `event`, `retry` mean nothing."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._lines: list[bytes] = []
        self._size = 0
        self._events: deque[Event] = deque()

    def feed(self, received: bytes) -> None:
        """Raises `DenylistUnavailable` for an event that is too large."""
        self._buffer += received
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            self._searched = 0
            self._take_line(line)
        self._searched = len(self._buffer)
        if len(self._buffer) + self._size > _MAX_LINE:
            raise DenylistUnavailable("the feed sends an event that is too large")

    def _take_line(self, line: bytes) -> None:
        if not line:
            if self._lines:
                self._events.append(Event(tuple(self._lines)))
            self._lines, self._size = [], 0
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._lines.append(value.removeprefix(b" "))
            self._size += len(value) + 1

    def take(self) -> Event | None:
        return self._events.popleft() if self._events else None
