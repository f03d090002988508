"""Requests as bytes that no client of ours would send, and what servers say to them."""

from __future__ import annotations

import contextlib
import socket
import struct

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset."""


def said(port: int, request: bytes, timeout: float = 30) -> bytes:
    """All that comes until the server closes, or once what came is an answer that keeps open."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as sock:
        with contextlib.suppress(OSError):  # refused before all of it was sent
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while part := sock.recv(65536):
                received += part
    return received


def status_of(answer: bytes) -> int:
    """The status of the first answer; 0 where the connection was closed without one."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def cut_off(port: int, request: bytes) -> None:
    """Send this, and reset the connection at once."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.sendall(request)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def strange_requests(line: str, body: bytes) -> dict[str, bytes]:
    """By name; `line` begins the request that they are made of, `body` would be its body."""
    head = f"{line}\r\nHost: a\r\nContent-Type: application/json\r\n".encode()
    length = b"Content-Length: %d\r\n" % len(body)
    method, target, version = line.split(" ")

    def whole(*lines: bytes) -> bytes:
        return head + b"".join(each + b"\r\n" for each in lines) + length + b"\r\n" + body

    def other(first: str) -> bytes:
        return whole().replace(line.encode(), first.encode("latin-1"), 1)

    return {
        "a long line": other(f"{method} {target}?{'x' * 70_000} {version}"),
        "a long method": other(f"{'X' * 70_000} {target} {version}"),
        "a long field": whole(b"X-Long: " + b"x" * 70_000),
        "a long name": whole(b"X" * 70_000 + b": 1"),
        "many fields": whole(*(b"X-%d: 1" % number for number in range(9000))),
        "a head without an end": head + b"X: 1\r\n" * 20_000,
        "nothing but spaces": b" " * 70_000,
        "nothing but line ends": b"\r\n" * 40_000,
        "zeros": bytes(70_000),
        "every octet": bytes(range(256)) * 300,
        "TLS": bytes.fromhex("16030100050100000100") + b"\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/0.9": f"{method} {target}\r\n\r\n".encode(),
        "the PROXY protocol": b"PROXY TCP4 198.51.100.9 127.0.0.1 5 6\r\n" + whole(),
        "no target": other(f"{method}  {version}"),
        "a space in the target": other(f"{method} /a b {version}"),
        "a zero in the target": other(f"{method} /a\0b {version}"),
        "octets in the target": other(f"{method} /\xff\xfe {version}"),
        "a broken escape": other(f"{method} /%zz%2 {version}"),
        "a broken host in the target": other(f"{method} http://[::1/ {version}"),
        "the server itself": other(f"OPTIONS * {version}"),
        "a tunnel": other(f"CONNECT a:99999999 {version}"),
        "a zero in a field": whole(b"X-Zero: a\0b"),
        "a bare carriage return": whole(b"X-Return: a\rb"),
        "a folded field": whole(b"X-Folded: a", b" b"),
        "a field without a name": whole(b": a"),
        "a field without a colon": whole(b"nothing"),
        "a space in a name": whole(b"X Y: a"),
        "a huge length": head + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n" + body,
        "a length beyond all": head + b"Content-Length: 18446744073709551617\r\n\r\n" + body,
        "a negative length": head + b"Content-Length: -1\r\n\r\n" + body,
        "a length in letters": head + b"Content-Length: ten\r\n\r\n" + body,
        "a length in other digits": head + "Content-Length: \u0661\r\n\r\n".encode() + body,
        "two lengths": head + b"Content-Length: 1\r\n" + length + b"\r\n" + body,
        "a list of lengths": head + b"Content-Length: 1, 1\r\n\r\n" + body,
        "chunks": head
        + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
        "a huge chunk": head + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\nx",
        "chunks that are none": head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        "a chunk with a long extension": head
        + b"Transfer-Encoding: chunked\r\n\r\n1;"
        + b"x" * 70_000
        + b"\r\nx\r\n0\r\n\r\n",
        "endless trailers": head
        + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
        + b"X: 1\r\n" * 20_000,
        "another coding": head + b"Transfer-Encoding: gzip\r\n\r\n" + body,
        "both framings": head + length + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "a body too large": head + b"Content-Length: 200000\r\n\r\n" + b" " * 200_000,
        "a body a little too large": head + b"Content-Length: 16385\r\n\r\n" + b" " * 16_385,
        "a body too short": head + b"Content-Length: 5000\r\n\r\n" + body,
        "no host": whole().replace(b"Host: a\r\n", b"", 1),
        "two hosts": whole(b"Host: b"),
        "an unknown expectation": whole(b"Expect: the-impossible"),
    }
