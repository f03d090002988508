"""Many client processes, let go at one moment."""

from __future__ import annotations

import fcntl
import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

from harness import gated_client


class GatedClients:
    """Processes of `gated_client`, each of which refreshes once in every round."""

    def __init__(self, count: int, directory: Path) -> None:
        self._gate = directory / "gate"
        self._gate.touch()
        self._clients: list[IO[str]] = []
        self._count = count

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            pairs = [socket.socketpair() for _ in range(self._count)]
            far = [stack.enter_context(end).fileno() for _, end in pairs]
            argv = [sys.executable, "-S", "-E", gated_client.__file__, *map(str, far)]
            self._processes = subprocess.Popen(argv, pass_fds=far)
            for near, _ in pairs:
                with near:
                    self._clients.append(near.makefile("rw"))
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        self._processes.wait(timeout=60)

    def round(self, requests: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
        """Let every client present its token to its port at once; the answers, in their order."""
        with self._gate.open() as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            for client, (port, token) in zip(self._clients, requests, strict=True):
                print(f"{port} {self._gate} {token}", file=client, flush=True)
            for client in self._clients:
                assert client.readline() == "ready\n"
            # A client has opened the file by now and waits, or is about to.
            fcntl.flock(gate, fcntl.LOCK_UN)
        return [json.loads(client.readline()) for client in self._clients]
