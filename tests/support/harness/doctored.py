"""What the doctor looks at, made well or ill, and what it finds."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time

from harness.certificates import Certificates

from issuer.doctor import CHECKS, Deployment, Finding, State, examine


def found(deployment: Deployment, *checks: str) -> dict[str, Finding]:
    """What the checks of these names find, by name; the worst, where there are two."""
    chosen = [(name, check) for name, check in CHECKS if name in checks]
    assert {name for name, _ in chosen} == set(checks)
    order = [State.OK, State.UNKNOWN, State.WARN, State.FAIL]
    findings = sorted(examine(deployment, chosen), key=lambda one: order.index(one.state))
    for finding in findings:
        told = (finding.why, finding.todo)
        assert all(told) != (finding.state is State.OK), finding
    return {finding.check: finding for finding in findings}


def states(deployment: Deployment, *checks: str) -> dict[str, str]:
    """The same, as words."""
    return {name: str(one.state) for name, one in found(deployment, *checks).items()}


@contextmanager
def stand_in(
    *, ready: int = 200, ahead: float = 0.0, certificates: Certificates | None = None
) -> Iterator[str]:
    """The address of a server that answers as an issuer of this health and clock would."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(ready if self.path == "/readyz" else 200)
            self.send_header("Date", formatdate(time() + ahead, usegmt=True))
            self.end_headers()
            self.wfile.write(b'{"checks": {"database": "failing"}}')

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Who does not trust it goes away."""

    server = Server(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificates is not None:
        scheme = "https"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.certificate, certificates.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
