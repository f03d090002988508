"""uvicorn's HTTP/1.1 with what it lacks: limits to a request's head, and to connections."""

from __future__ import annotations

import asyncio
import resource
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 65_536
"""Bytes. nginx sends 64 KiB at most as the pages have it, Envoy 60, Caddy as much as it is told."""
HEAD_TIMEOUT = 10.0
"""Seconds for a head to arrive, from its first byte."""
FIRST_TIMEOUT = 75.0
"""Seconds for which a new connection may say nothing; uvicorn minds the later ones."""
MOST_CONNECTIONS = 4096
"""In each process; beyond them, those that have been silent for longest are closed."""
OWN_DESCRIPTORS = 128
"""What a process needs besides its connections."""

_TOO_LARGE = b"431 Request Header Fields Too Large"
_TOO_SLOW = b"408 Request Timeout"


def make_room() -> None:
    """Raise this process's limit of descriptors as far as it may be, for its connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + OWN_DESCRIPTORS
    if resource.RLIM_INFINITY not in {soft, hard} and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def _most_connections() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, soft - OWN_DESCRIPTORS))


def _length(field: tuple[bytes, bytes]) -> int:
    return len(field[0]) + len(field[1]) + 4


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection whose next request does not come to its point."""

    _silent: ClassVar[dict[BoundedHttp, None]] = {}
    """Connections of this process without a request under way, the longest silent first."""
    _most: ClassVar[int | None] = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = True
        self._head = 0
        self._refused = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm(FIRST_TIMEOUT)
        self._silent[self] = None
        if BoundedHttp._most is None:
            BoundedHttp._most = _most_connections()
        if len(self.connections) > BoundedHttp._most:
            next(iter(self._silent))._give_way()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._silent.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > MAX_HEAD and not self.transport.is_closing():
            self._refuse(_TOO_LARGE)

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._arm(HEAD_TIMEOUT)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # After the head these are trailers, which uvicorn would put among the headers; a gateway
        # has not seen them (RFC 9110 section 6.5.1).
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._disarm()
        self._in_head = False
        self._silent.pop(self, None)
        # What has come may be more than the head: it is measured only where it can be too much.
        if self._head > MAX_HEAD and len(self.url) + sum(map(_length, self.headers)) > MAX_HEAD:
            self._refuse(_TOO_LARGE)
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head = 0
        if not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._silent[self] = None

    # Ends.

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self._give_up)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._head:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()

    def _give_way(self) -> None:
        del self._silent[self]
        self.connections.discard(self)  # it counts no more, though it closes in the next round
        self.transport.abort()

    def _refuse(self, status: bytes) -> None:
        self._refused = True
        self.transport.write(
            b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status
        )
        self.transport.close()
