"""Asks a gateway for its status alone, on one kept-alive connection, and costs little."""

from __future__ import annotations

import re
import socket
from contextlib import suppress

TIMEOUT = 10.0
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class StatusClient:
    """A client of what listens on a loopback port; it connects anew after every failure."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, token: str) -> int:
        """The status for a bearer token. Raises `OSError`, or `ValueError` for no HTTP of ours."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), TIMEOUT)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            head = self._exchange(self._socket, token)
        except BaseException:
            self.close()
            raise
        if _CLOSES.search(head):
            self.close()
        return int(head[9:12])

    def close(self) -> None:
        """Begin with a new connection next time."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None

    def _exchange(self, line: socket.socket, token: str) -> bytes:
        line.sendall(
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        got = b""
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += _more(line)
        head, length = got[:end], _LENGTH.search(got[:end])
        if not _STATUS.match(head) or length is None:
            raise ValueError("an answer without status or length")
        while len(got) < end + 4 + int(length[1]):
            got += _more(line)
        return head


def _more(line: socket.socket) -> bytes:
    some = line.recv(65536)
    if not some:
        raise ConnectionResetError("closed within an answer")
    return some
