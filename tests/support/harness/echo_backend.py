"""A backend that keeps what it was sent: each header as it arrived, and the body's length.

It takes the gateway's word for who is calling, and answers with it.
"""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the backend had it."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    length: int

    def all(self, name: str) -> list[str]:
        """The values of a header, also under names that some backends take for the same."""
        wanted = name.lower()
        return [value for key, value in self.headers if key.lower().replace("_", "-") == wanted]


class EchoBackend:
    """Listens on loopback; `seen` holds every request, in order."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = self._read_body()
                seen = Seen(self.command, self.path, list(self.headers.items()), length)
                backend.seen.append(seen)
                sub = ", ".join(seen.all("X-Gatepass-Subject"))
                told = {"path": self.path, "length": length, "sub": sub, "message": f"for {sub}"}
                body = json.dumps(told).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if "Origin" in self.headers:
                    # As a careless one answers: everybody, with cookies.
                    self.send_header("Access-Control-Allow-Origin", self.headers["Origin"])
                    self.send_header("Access-Control-Allow-Credentials", "true")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = answer  # noqa: N815 - their names

            def _read_body(self) -> int:
                if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                    total = 0
                    while size := int(self.rfile.readline(), 16):
                        total += len(self.rfile.read(size))
                        self.rfile.readline()
                    self.rfile.readline()
                    return total
                return len(self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A gateway that closes its connection is no event."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown()
        self._server.server_close()
