"""A TCP proxy that loses answers: the server has given them, and the browser does not get them."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from typing import Self

PIECE = 65536
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset instead of an orderly end."""
CUTS = ("all of it", "most of the head", "half of the body")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class CuttingProxy:
    """Listens on a port of its own from the start; `target` is the server's, on loopback."""

    def __init__(self) -> None:
        self.target = 0
        self.cut: list[str] = []
        """What was lost, one entry for each answer."""
        self._path = b""
        self._left = 0
        self._what = ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for sock in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def lose(self, path: str, count: int, what: str) -> None:
        """Lose the next answers to posts to a path: `what` of each, one of `CUTS`."""
        self.cut.clear()
        self._path, self._left, self._what = f"POST {path} ".encode(), count, what

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        """One connection, a request and its answer at a time, as browsers use it."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(client.close)
            server = socket.create_connection(("127.0.0.1", self.target))
            stack.callback(server.close)
            self._sockets.append(server)
            while (request := _message(client)) is not None:
                server.sendall(request)
                answer = _message(server)
                if answer is None:
                    return
                if self._left and request.startswith(self._path):
                    self._left -= 1
                    self._lose(client, answer)
                    return
                client.sendall(answer)

    def _lose(self, client: socket.socket, answer: bytes) -> None:
        head, _, body = answer.partition(b"\r\n\r\n")
        if self._what == "all of it":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif self._what == "most of the head":
            client.sendall(head[:-10])
        else:
            client.sendall(head + b"\r\n\r\n" + body[: len(body) // 2])
        self.cut.append(self._what)


def _message(source: socket.socket) -> bytes | None:
    """A whole request or answer; None at the end. Its length is told, or it has no body."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = source.recv(PIECE)
        if not piece:
            return None
        data += piece
    head = data.partition(b"\r\n\r\n")[0] + b"\r\n"
    length = _LENGTH.search(head)
    bodiless = head.startswith((b"HTTP/1.1 204", b"HTTP/1.1 304"))
    missing = 0 if bodiless else int(length.group(1)) if length else 0
    missing -= len(data) - len(head) - 2
    while missing > 0:
        piece = source.recv(PIECE)
        if not piece:
            return None
        data += piece
        missing -= len(piece)
    return data
