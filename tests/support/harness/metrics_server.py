"""Answers at `/metrics` as a gateway does, or as none should."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "what-the-gateway-asks-for-88"


class MetricsServer:
    """Answers with what a test gave it, to whoever has the token."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b"", dict[str, str]()
        self.asked: list[str] = []
        self.trickle = 0.0
        """Seconds between one byte and the next."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                allowed = self.headers["Authorization"] == f"Bearer {TOKEN}"
                self.send_response(outer.status if allowed else 401)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                with suppress(OSError):
                    for part in range(0, len(outer.body), 1 if outer.trickle else 1 << 20):
                        self.wfile.write(outer.body[part : part + 1 if outer.trickle else None])
                        time.sleep(outer.trickle)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/metrics"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
