"""gunicorn's threaded worker, made patient: a slow or silent client waits in the poller.

Stock gthread reads a request's head in a pool thread without a time limit, so that as many
half-sent requests as there are threads stop the service (measured). Here the kernel keeps the
bytes until the request has arrived whole, and only then does it take a thread. Nor does anybody
hold the main loop: stock gthread waits there, two seconds each, for clients to close. And where
there are too many connections, those that have been silent for longest make room.
"""

from __future__ import annotations

import errno
import json
import re
import selectors
import signal
import socket
import ssl
import time
from bisect import insort
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING

from gunicorn.workers.gthread import TConn, ThreadWorker

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ARRIVAL_TIMEOUT = 10
"""Seconds for a whole request to arrive."""
TLS_TIMEOUT = 5.0
"""Seconds for any one step of a TLS connection."""
ANSWER_TIMEOUT = 10.0
"""Seconds for a client to take one piece of an answer, however it drips."""
SEND_BUFFER = 256 * 1024
"""Bytes: the kernel takes any answer whole, and no thread waits for who reads it slowly."""
LINGER = 2.0
"""Seconds for a client to close its side, once it has its last answer (RFC 9112 section 9.6)."""
MOST_LINGERING_BYTES = 65_536
ROOM = 16
"""Connections that make room where there is no descriptor left: requests need some, too."""
PAUSE = 0.01
"""Seconds until the next attempt to accept where nobody can make room."""
_PASSING = frozenset(
    {
        errno.EAGAIN,
        errno.ECONNABORTED,
        errno.EPERM,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)
"""What accept(2) says of the one connection that it did not take, or of a firewall; the listener is
as good as before."""
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
_TOO_SLOW = _answer("408 Request Timeout", "the request did not arrive in time")


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
    digits = _length_digits(seen, head_end)
    return _BODY_TOO_LARGE if len(digits) > 9 or int(digits) > MAX_BODY_BYTES else None


def missing_bytes(seen: bytes) -> int:
    """How many more bytes the request needs before a thread should read it; 0 when it is whole.

    Only a guess at framing, to save threads: gunicorn's strict parser decides what the bytes mean.
    """
    head_end = seen.find(b"\r\n\r\n")
    if head_end < 0:
        return 1
    return max(head_end + 4 + int(_length_digits(seen, head_end)) - len(seen), 0)


def _length_digits(seen: bytes, head_end: int) -> bytes:
    """The body's length; without zeros in front, since `int` refuses thousands of digits."""
    length = _CONTENT_LENGTH.search(seen, 0, head_end + 2)
    return (length[1].lstrip(b"0") if length else b"") or b"0"


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

    def init_process(self) -> None:
        self._lingering: deque[TConn] = deque()
        """Connections that have had their last answer and may close by themselves."""
        super().init_process()

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

    def accept(self, listener: socket.socket) -> None:
        """Accept one connection; at the limit, one that is silent makes room for it."""
        if self.nr_conns >= self.worker_connections - 1:
            self._make_room(1)
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                # It stays in the listener's queue, which wakes the poller at once again.
                if not self._make_room(ROOM):
                    time.sleep(PAUSE)
            elif error.errno not in _PASSING:
                raise
            return
        self.nr_conns += 1
        sock = TimedSocket(accepted.family, accepted.type, accepted.proto, accepted.detach())
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.enqueue_req(TConn(self.cfg, sock, address, listener.getsockname()))

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """As gunicorn's, but nothing happens to a connection that made room in the same round.

        It is closed, and its descriptor may be another's already.
        """
        for key, _ in self.poller.select(timeout):
            if self.poller.get_map().get(key.fd) is key:
                key.data(key.fileobj)

    def _make_room(self, count: int) -> int:
        """Close those that have been silent for longest, `count` at the most; how many it were."""
        for closed in range(count):
            silent = [
                (conns[0].timeout - patience, conns)
                for conns, patience in (
                    (self.pending_conns, ARRIVAL_TIMEOUT),
                    (self.keepalived_conns, self.cfg.keepalive),
                    (self._lingering, LINGER),
                )
                if conns
            ]
            if not silent:
                return closed
            self._drop(min(silent, key=itemgetter(0))[1].popleft())
        return count

    def _drop(self, conn: TConn, answer: bytes = b"") -> None:
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        if answer:
            _send_and_drop(conn.sock, answer)
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """As gunicorn's; a request that has begun is told why it ends (RFC 9110 15.5.9)."""
        now = time.monotonic()
        while self.pending_conns and self.pending_conns[0].timeout <= now:
            conn = self.pending_conns.popleft()
            begun = getattr(conn, "last_seen", -1) > 0
            self._drop(conn, _TOO_SLOW if begun and not self.cfg.is_ssl else b"")
        while self._lingering and self._lingering[0].timeout <= now:
            self._drop(self._lingering.popleft())

    def finish_request(self, conn: TConn, done: Future[object]) -> None:
        """As gunicorn's, but for a connection that is to be closed: it lingers in the poller."""
        if not done.cancelled() and done.exception() is None and not done.result():
            self._linger(conn)
        else:
            super().finish_request(conn, done)

    def _linger(self, conn: TConn) -> None:
        conn.timeout = time.monotonic() + LINGER
        conn.drained = 0
        self._lingering.append(conn)
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.settimeout(0.0)
            self.poller.register(conn.sock, selectors.EVENT_READ, lambda _sock: self._drain(conn))
        except (OSError, KeyError, ValueError):
            self._end_lingering(conn)
        else:
            self._drain(conn)

    def _drain(self, conn: TConn) -> None:
        """Read what nobody will, so that no reset overtakes the answer; until the client closes."""
        try:
            while conn.drained < MOST_LINGERING_BYTES:
                piece = conn.sock.recv(4096)
                if not piece:
                    break
                conn.drained += len(piece)
        except BlockingIOError:
            return
        except OSError:
            pass
        self._end_lingering(conn)

    def _end_lingering(self, conn: TConn) -> None:
        self._lingering.remove(conn)
        self._drop(conn)

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
        # In the order of their deadlines: one that drips would else stand behind all that are new.
        insort(self.pending_conns, conn, key=lambda parked: parked.timeout)
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
        # What the parser read with the request before it is the beginning of this one.
        read_ahead = conn.parser.unreader.buf.getvalue() if conn.parser else b""
        # A thread may have left a time limit, for which the main loop would wait here.
        conn.sock.settimeout(0.0)
        try:
            peeked = conn.sock.recv(PEEK_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            if not read_ahead:
                return Arrival.PARTIAL
            peeked = b""
        except OSError:
            return Arrival.CUT
        seen = read_ahead + peeked
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
            with suppress(OSError):  # it is gone: the poller will say so
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        conn.last_seen = len(seen) if missing else -1
        low_water = len(peeked) + missing if missing else 1
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


class TimedSocket(socket.socket):
    """A socket that waits for no client for longer than a while: one that takes no answer, too."""

    def setblocking(self, flag: bool, /) -> None:  # noqa: FBT001  # socket's own signature
        self.settimeout(ANSWER_TIMEOUT if flag else 0.0)

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        try:
            super().sendall(data, flags)  # the time limit is that of all of it
        except TimeoutError:
            raise BrokenPipeError(errno.EPIPE, "the client does not take its answer") from None


class TimedTlsSocket(ssl.SSLSocket):
    """A TLS socket whose handshake, and whose requests, must be over in time.

    It bounds how long a client holds a thread; unlike plain HTTP, it does hold one meanwhile.
    """

    _deadline: float | None = None

    def settimeout(self, value: float | None, /) -> None:
        super().settimeout(TLS_TIMEOUT if value is None else min(value, TLS_TIMEOUT))

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
