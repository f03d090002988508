"""A TCP proxy that holds each answer of its server back for a while."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class SlowProxy:
    """Listens on a port of its own; `delay` (seconds) may be changed at any time."""

    def __init__(self, port: int) -> None:
        """`port` is the server's, on loopback."""
        self.delay = 0.0
        self._target = ("127.0.0.1", port)
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._thread(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for sock in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._target)
                except OSError:
                    client.close()
                    continue
                self._sockets += [client, server]
                self._thread(self._carry, client, server, False)
                self._thread(self._carry, server, client, True)

    def _carry(self, source: socket.socket, sink: socket.socket, late: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if late and self.delay:
                    self._closing.wait(self.delay)
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _thread(self, work: object, *args: object) -> None:
        threading.Thread(target=work, args=args, daemon=True).start()  # type: ignore[arg-type]
