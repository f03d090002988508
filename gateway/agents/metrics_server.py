"""`/metrics` of an agent, answered from a thread of its own."""

from __future__ import annotations

import io
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

from ..errors import Refusal, refused
from ..metrics import CONTENT_TYPE, AgentMetrics, Watched, text_of
from ..metrics_access import MetricsAccess

log = logging.getLogger("gatepass.agent")

REQUEST_TIMEOUT = 5.0
"""Seconds from a connection to the end of its request's head, and for each write of the answer."""
MOST_CONNECTIONS = 8
"""At once; another one is closed unanswered, and Prometheus asks again."""
_LOOK = 0.25

_TEXT = (("Content-Type", CONTENT_TYPE.decode()), ("Cache-Control", "no-store"))


class MetricsApp:
    """A WSGI application with the one path."""

    def __init__(self, watched: Watched, access: MetricsAccess) -> None:
        self._metrics = AgentMetrics(watched)
        self._access = access

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        refusal, text = self._refusal(environ), b""
        if refusal is None:
            try:
                text = text_of(self._metrics)
            except Exception as error:
                log.warning("the metrics cannot be told: %s", type(error).__name__)
                told = "the metrics cannot be told just now"
                refusal = refused("500 Internal Server Error", "server_error", told)
        status, headers, body = (
            ("200 OK", _TEXT, text)
            if refusal is None
            else (refusal.status, refusal.headers, refusal.body)
        )
        start(status, [*headers, ("Content-Length", str(len(body))), ("Server", "gatepass")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _refusal(self, environ: WSGIEnvironment) -> Refusal | None:
        if environ["PATH_INFO"] != "/metrics" or environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return refused("404 Not Found", "not_found", "there is GET /metrics alone")
        if not self._access.admits((environ["REMOTE_ADDR"], 0), _headers_of(environ)):
            return self._access.refusal
        return None


class MetricsServer(ThreadingMixIn, WSGIServer):
    """Listens from the start, and answers once there is something to watch."""

    daemon_threads = True
    request_queue_size = 16
    allow_reuse_port = False
    """So that a port that somebody has is told."""

    def __init__(self, host: str, port: int, access: MetricsAccess) -> None:
        """Raises `OSError` where it cannot listen there."""
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._access = access
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._thread: threading.Thread | None = None
        super().__init__((host, port), _Request)

    def watch(self, watched: Watched) -> None:
        """Answer from a thread, about this."""
        self.set_app(MetricsApp(watched, self._access))
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_LOOK,), name="gatepass-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
        self.server_close()

    def server_bind(self) -> None:
        # Not as its base does: that looks the name of the address up.
        TCPServer.server_bind(self)
        host, self.server_port = self.socket.getsockname()[:2]
        self.server_name = str(host)
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, *_: Any) -> None:
        """A peer that is gone or too slow is nobody's concern."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.warning("a request for metrics failed: %s", type(error).__name__)


class _Request(WSGIRequestHandler):
    """One request, whose head has to be there in time, and no word about it on standard error."""

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_Hurried(self.connection))

    def version_string(self) -> str:
        return "gatepass"

    def get_stderr(self) -> Any:
        return io.StringIO()

    def log_message(self, *_: Any) -> None:
        pass


class _Hurried(io.RawIOBase):
    """What a connection brings until its time is up."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = time.monotonic() + REQUEST_TIMEOUT
        connection.settimeout(REQUEST_TIMEOUT)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(REQUEST_TIMEOUT)


def _headers_of(environ: WSGIEnvironment) -> list[tuple[bytes, bytes]]:
    # Repeated ones are joined by commas, which no token has in it.
    return [
        (name[5:].replace("_", "-").lower().encode(), value.encode("latin-1", "replace"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
