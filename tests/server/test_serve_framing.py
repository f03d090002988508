"""What `gatepass serve` makes of requests whose end or target is a matter of opinion."""

from __future__ import annotations

import json
import socket

import pytest
from harness.served_issuer import ServedIssuer

LIMIT = 16_384
SMUGGLED = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n\r\n"


def exchange(port: int, request: bytes) -> tuple[int, dict[str, str], bytes, bytes]:
    """Send bytes; the first answer's status, headers and body, and all that came after it.

    Reads until the server closes: whoever calls this says that it must.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(request)
        received = b""
        try:
            while part := client.recv(65536):
                received += part
        except ConnectionResetError:
            pass  # it closed while bytes of ours were still on their way
    head, _, rest = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    length = int(headers["content-length"])
    return int(status.split()[1]), headers, rest[:length], rest[length:]


def post(*lines: str, path: str = "/login", body: bytes = b"") -> bytes:
    """A request of these header lines, as they are."""
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""]).encode() + body


JSON = "Content-Type: application/json"
HOST = "Host: 127.0.0.1"


@pytest.mark.parametrize("path", ["/login", "/refresh", "/revoke", "/healthz", "/nothing"])
def test_chunked_body_is_refused(served: ServedIssuer, path: str) -> None:
    """A chunked body is 411 in OAuth form, unread, and what follows it is not a request."""
    chunked = b"2\r\n{}\r\n0\r\n\r\n"
    request = post(HOST, JSON, "Transfer-Encoding: chunked", path=path, body=chunked + SMUGGLED)
    status, headers, body, more = exchange(served.port, request)
    assert status == 411
    assert headers["connection"] == "close"
    assert json.loads(body)["error"] == "invalid_request"
    assert more == b""


def test_both_framings_are_refused(served: ServedIssuer) -> None:
    """Content-Length beside Transfer-Encoding is refused, and the connection closed (RFC 9112)."""
    lines = (HOST, JSON, "Content-Length: 5", "Transfer-Encoding: chunked")
    status, _, _, more = exchange(served.port, post(*lines, body=b"0\r\n\r\n" + SMUGGLED))
    assert status in {400, 411}
    assert more == b""


def test_missing_host_is_refused(served: ServedIssuer) -> None:
    """HTTP/1.1 without Host is 400 (RFC 9112 section 3.2)."""
    request = post(JSON, "Content-Length: 2", "Connection: close", body=b"{}")
    status, _, body, _ = exchange(served.port, request)
    assert status == 400
    assert b"Host" in body


@pytest.mark.parametrize("sent", [LIMIT + 1, 10 * LIMIT])
def test_oversize_body_is_refused(served: ServedIssuer, sent: int) -> None:
    """A body above the limit is 413, and the connection closes: its rest is not a request."""
    body = b" " * (sent - len(SMUGGLED)) + SMUGGLED
    request = post(HOST, JSON, f"Content-Length: {sent}", body=body)
    status, headers, _, more = exchange(served.port, request)
    assert status == 413
    assert headers["connection"] == "close"
    assert more == b""


def test_announced_oversize_is_refused_unsent(served: ServedIssuer) -> None:
    """A body that is announced as too large is refused before it has been sent."""
    lines = (HOST, JSON, f"Content-Length: {1 << 30}")
    status, headers, _, _ = exchange(served.port, post(*lines, body=b" " * (70 * 1024)))
    assert status == 413
    assert headers["connection"] == "close"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n",
        post(HOST, JSON, "Content-Length: 2", "Content-Length: 3", body=b"{}x"),
        post(HOST, JSON, "Content-Length: -2", body=b"{}"),
        post(HOST, JSON, "Content-Length: 0x2", body=b"{}"),
        post(HOST, JSON, f"Content-Length: {'0' * 5000}2", body=b"{}"),
        post(HOST, JSON, "Content_Length: 2", body=b"{}"),
        post(HOST, JSON, "Content-Length : 2", body=b"{}"),
        post(HOST, "X-Long: " + "x" * 9000),
        post(HOST, *(f"X-{number}: 1" for number in range(100))),
        b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=[
        "no-http",
        "version",
        "two-lengths",
        "negative",
        "hexadecimal",
        "thousands-of-zeros",
        "underscore",
        "space-in-name",
        "long-header",
        "many-headers",
        "long-line",
    ],
)
def test_broken_head_is_refused(served: ServedIssuer, request_bytes: bytes) -> None:
    """What strict parsing does not accept is 4xx or 505, and closes the connection."""
    status, _, _, more = exchange(served.port, request_bytes + SMUGGLED)
    assert 400 <= status < 500 or status == 505
    assert more == b""


def test_the_server_goes_on(served: ServedIssuer) -> None:
    """Beside all of this an ordinary request is answered, with a body at the limit too."""
    assert served.site.get("/healthz").status == 200
    body = json.dumps({"username": "u", "password": "p", "label": ""}).encode()
    answer = served.site.post("/login", headers={"Content-Type": "application/json"}, form=None)
    assert answer.status == 400
    padded = body + b" " * (LIMIT - len(body))
    request = post(HOST, JSON, f"Content-Length: {LIMIT}", "Connection: close", body=padded)
    assert exchange(served.port, request)[0] in {400, 403}
