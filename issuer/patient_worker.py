"""gunicorn's threaded worker, made patient: a slow or silent client waits in the poller.

Stock gthread reads a request's head in a pool thread without a time limit, so that as many
half-sent requests as there are threads stop the service (measured). Here the kernel keeps the
bytes until the request has arrived whole, and only then does it take a thread.
"""

from __future__ import annotations

import json
import re
import selectors
import signal
import socket
import ssl
import time
from contextlib import suppress
from enum import Enum, auto
from functools import partial

from gunicorn.workers.gthread import TConn, ThreadWorker

ARRIVAL_TIMEOUT = 10
"""Seconds for a whole request to arrive."""
TLS_TIMEOUT = 5.0
"""Seconds for any one step of a TLS connection."""
ACCEPT_ON_STOP = 128
"""Queued connections that a stopping worker still takes."""
MAX_HEAD_BYTES = 32 * 1024
MAX_BODY_BYTES = 32 * 1024
"""The largest request that is waited for; the application's own limits are below these."""
PEEK_BYTES = MAX_HEAD_BYTES + MAX_BODY_BYTES

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*(\d+)[ \t]*\r\n", re.I)
_TRANSFER_ENCODING = re.compile(rb"\r\ntransfer-encoding[ \t]*:", re.I)
_EXPECT = re.compile(rb"\r\nexpect[ \t]*:[ \t]*100-continue[ \t]*\r\n", re.I)


def _answer(status: str, description: str) -> bytes:
    body = json.dumps({"error": "invalid_request", "error_description": description}).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


_HEAD_TOO_LARGE = _answer("431 Request Header Fields Too Large", "the headers are too large")
_LENGTH_REQUIRED = _answer("411 Length Required", "give the body's length")
_BODY_TOO_LARGE = _answer("413 Content Too Large", "the request is too large")


def refusal_of(seen: bytes) -> bytes | None:
    """The answer to a request that no thread should wait for, None for any other.

    Its end is too far away, or, with `Transfer-Encoding`, not known (RFC 9112 section 6.3).
    """
    head_end = seen.find(b"\r\n\r\n")
    if head_end < 0:
        return _HEAD_TOO_LARGE if len(seen) >= MAX_HEAD_BYTES else None
    if head_end > MAX_HEAD_BYTES:
        return _HEAD_TOO_LARGE
    if _TRANSFER_ENCODING.search(seen, 0, head_end + 2):
        return _LENGTH_REQUIRED
    length = _CONTENT_LENGTH.search(seen, 0, head_end + 2)
    digits = length[1].lstrip(b"0") if length else b""
    return _BODY_TOO_LARGE if len(digits) > 9 or int(digits or 0) > MAX_BODY_BYTES else None


def missing_bytes(seen: bytes) -> int:
    """How many more bytes the request needs before a thread should read it; 0 when it is whole.

    Only a guess at framing, to save threads: gunicorn's strict parser decides what the bytes mean.
    """
    head_end = seen.find(b"\r\n\r\n")
    if head_end < 0:
        return 1
    length = _CONTENT_LENGTH.search(seen, 0, head_end + 2)
    if length is None:
        return 0
    return max(head_end + 4 + int(length[1]) - len(seen), 0)


class Arrival(Enum):
    """How much of a request the kernel holds."""

    WHOLE = auto()
    PARTIAL = auto()
    CUT = auto()
    REFUSED = auto()


class PatientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no type hints
    """gthread whose threads read whole requests only.

    SO_RCVLOWAT wakes the poller when the missing part is there.
    """

    def init_signals(self) -> None:
        super().init_signals()
        # A terminal sends SIGINT to the whole group; only the supervisor may act on it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001  # gunicorn's signature
        """As gunicorn's; a worker that stops also answers the queue and closes its listener.

        Else a stopping server keeps completing handshakes that it will reset later. On a reload
        the supervisor and the new workers hold the same listener open.
        """
        if not enabled and not self.alive:
            self.app.stopping()
            for listener in self.sockets:
                for _ in range(ACCEPT_ON_STOP):
                    before = self.nr_conns
                    self.accept(listener)
                    if self.nr_conns == before:
                        break
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()

    def enqueue_req(self, conn: TConn) -> None:
        """Give the connection a thread if its request is whole, park it if more may come."""
        arrival = self._arrival(conn)
        if arrival is Arrival.WHOLE:
            conn.arrival_deadline = None
            super().enqueue_req(conn)
            return
        if arrival in {Arrival.CUT, Arrival.REFUSED}:
            self.nr_conns -= 1
            conn.close()
            return
        if conn.arrival_deadline is None:
            conn.arrival_deadline = time.monotonic() + ARRIVAL_TIMEOUT
        conn.timeout = conn.arrival_deadline  # never moved: dripping bytes gains no time
        conn.sock.settimeout(0.0)
        self.pending_conns.append(conn)
        on_readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, on_readable)

    def _arrival(self, conn: TConn) -> Arrival:
        if not hasattr(conn, "arrival_deadline"):
            conn.arrival_deadline = None
            conn.last_seen = -1
        # A unix socket's peer is our own proxy, and poll ignores SO_RCVLOWAT there. Inside TLS
        # there is nothing to peek at: the socket's time limit bounds it.
        if conn.sock.family == socket.AF_UNIX or isinstance(conn.sock, ssl.SSLSocket):
            return Arrival.WHOLE
        try:
            seen = conn.sock.recv(PEEK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return Arrival.PARTIAL
        except OSError:
            return Arrival.CUT
        refusal = None if self.cfg.is_ssl else refusal_of(seen)
        if refusal is not None:
            _send_and_drop(conn.sock, refusal)
            return Arrival.REFUSED
        missing = 0 if self.cfg.is_ssl else missing_bytes(seen)
        if not seen or (missing and len(seen) == conn.last_seen):
            # Woken with nothing new: the client closed its side. A cut request is not carried
            # out (RFC 9112, section 8); gunicorn would hand the app the part that came.
            return Arrival.CUT
        if missing and conn.last_seen < 0 and b"\r\n\r\n" in seen and _EXPECT.search(seen):
            # The client waits for leave to send its body (RFC 9110, section 10.1.1); gunicorn's
            # own 100, sent when the body is read, would come too late.
            conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        conn.last_seen = len(seen) if missing else -1
        low_water = len(seen) + missing if missing else 1
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, low_water)
        return Arrival.PARTIAL if missing else Arrival.WHOLE


def _send_and_drop(sock: socket.socket, answer: bytes) -> None:
    """Answer without a thread, and read what has come, since a reset could overtake the answer."""
    with suppress(OSError):
        sock.settimeout(0.0)
        sock.send(answer)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(PEEK_BYTES):
            pass


class TimedTlsSocket(ssl.SSLSocket):
    """A TLS socket whose handshake, and whose requests, must be over in time.

    It bounds how long a client holds a thread; unlike plain HTTP, it does hold one meanwhile.
    """

    _deadline: float | None = None

    def settimeout(self, value: float | None, /) -> None:
        super().settimeout(TLS_TIMEOUT if value is None else value)

    def setblocking(self, flag: bool, /) -> None:  # noqa: FBT001  # socket's own signature
        # A thread takes the connection: the request that it reads must arrive by then.
        self._deadline = time.monotonic() + ARRIVAL_TIMEOUT if flag else None
        self.settimeout(None if flag else 0.0)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the request did not arrive in time")
            super().settimeout(min(TLS_TIMEOUT, left))
        return super().recv(buflen, flags)
