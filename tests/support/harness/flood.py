"""Floods of connections, from a process of their own: many clients in one loop.

Run as a program it prints a line when every connection has been tried, and goes on until its
standard input ends: `python -m harness.flood PORT COUNT MOST BYTES [DRIP]`.
"""

from __future__ import annotations

import errno
import os
import resource
import selectors
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Self

SOURCES = 200
"""Addresses of the flood, all in one network: 127.66.0.0/24."""
AT_ONCE = 200
"""Handshakes under way: a flood that fills the listener's queue would mostly wait for itself."""
DRIP_SECONDS = 0.5
SETTLED_SECONDS = 1.0


class Flood:
    """`count` connections to a loopback port that each send `said`, then a byte now and then."""

    def __init__(
        self, port: int, count: int, *, most: int = 0, said: bytes = b"", drip: bytes = b""
    ) -> None:
        """Those that the server closes are opened again, up to `most` in all."""
        arguments = [port, count, most or count, said.hex() or "-", drip.hex() or "-"]
        self._popen = Popen(
            [sys.executable, "-m", "harness.flood", *map(str, arguments)],
            stdin=PIPE,
            stdout=PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def opened(self) -> int:
        """Wait until all have been tried and no more will be; how many there were in all."""
        assert self._popen.stdout is not None
        return int(self._popen.stdout.readline())

    def stop(self) -> None:
        """Close all of them."""
        if self._popen.stdin is not None and not self._popen.stdin.closed:
            self._popen.stdin.close()
        self._popen.wait(30)
        if self._popen.stdout is not None:
            self._popen.stdout.close()


def descriptors(wanted: int) -> None:
    """Raise this process's limit; an error where the system does not let it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))


class _Clients:
    def __init__(self, port: int, count: int, most: int, said: bytes, drip: bytes) -> None:
        self.port, self.count, self.most, self.said, self.drip = port, count, most, said, drip
        self.selector = selectors.DefaultSelector()
        self.connecting: set[socket.socket] = set()
        self.open: set[socket.socket] = set()
        self.begun = 0
        self.changed = time.monotonic()

    def is_left_alone(self) -> bool:
        """Whether the server has closed none for a while; one that is busy is late to make room."""
        return time.monotonic() - self.changed > SETTLED_SECONDS

    def run(self) -> None:
        os.set_blocking(0, False)
        self.selector.register(0, selectors.EVENT_READ)
        told, next_drip = False, time.monotonic() + DRIP_SECONDS
        while True:
            self.connect_some()
            if not told and self.begun >= self.most and not self.connecting:
                print(self.begun, flush=True)
                told = True
            for key, events in self.selector.select(0.05):
                if key.fileobj == 0:
                    return
                self.serve(key.fileobj, events)  # type: ignore[arg-type]
            if not told and len(self.open) == self.count and self.is_left_alone():
                # Nobody is closed, so nobody is opened again.
                print(self.begun, flush=True)
                told = True
            if self.drip and time.monotonic() >= next_drip:
                next_drip += DRIP_SECONDS
                for sock in list(self.open):
                    try:
                        sock.send(self.drip)
                    except OSError:
                        self.close(sock)

    def connect_some(self) -> None:
        while (
            self.begun < self.most
            and len(self.open) + len(self.connecting) < self.count
            and len(self.connecting) < AT_ONCE
        ):
            sock = socket.socket()
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((f"127.66.0.{self.begun % SOURCES + 1}", 0))
            self.begun += 1
            self.changed = time.monotonic()
            if sock.connect_ex(("127.0.0.1", self.port)) not in {0, errno.EINPROGRESS}:
                sock.close()
                continue
            self.connecting.add(sock)
            self.selector.register(sock, selectors.EVENT_WRITE)

    def serve(self, sock: socket.socket, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self.connecting.discard(sock)
            self.open.add(sock)
            self.selector.modify(sock, selectors.EVENT_READ)
            try:
                sock.send(self.said)
            except OSError:
                self.close(sock)
            return
        with suppress(BlockingIOError):
            try:
                if sock.recv(65536):
                    return
            except ConnectionError:
                pass
            self.close(sock)

    def close(self, sock: socket.socket) -> None:
        self.open.discard(sock)
        self.connecting.discard(sock)
        with suppress(KeyError, ValueError):
            self.selector.unregister(sock)
        sock.close()


def main() -> None:
    port, count, most = map(int, sys.argv[1:4])
    said, drip = (b"" if text == "-" else bytes.fromhex(text) for text in sys.argv[4:6])
    descriptors(count + 100)
    _Clients(port, count, most, said, drip).run()
    os._exit(0)  # ten thousand sockets close faster with the process than one by one


if __name__ == "__main__":
    main()
