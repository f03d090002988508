"""Many client processes, let go at one moment."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Self

from harness import gated_client


class GatedClients:
    """Processes of `gated_client`, each of which refreshes once in every round."""

    def __init__(self, count: int, directory: Path) -> None:
        self._gate = directory / "gate"
        self._gate.touch()
        self._clients: list[subprocess.Popen[str]] = []
        self._count = count

    def __enter__(self) -> Self:
        # -S and -E: a hundred of them start in the time of twenty.
        argv = [sys.executable, "-S", "-E", gated_client.__file__]
        for _ in range(self._count):
            self._clients.append(
                subprocess.Popen(
                    argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
                )
            )
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.kill()
            client.wait()
            for pipe in (client.stdin, client.stdout):
                if pipe is not None:
                    pipe.close()

    def round(self, requests: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
        """Let every client present its token to its port at once; the answers, in their order."""
        with self._gate.open() as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            for client, (port, token) in zip(self._clients, requests, strict=True):
                _of(client.stdin).write(f"{port} {self._gate} {token}\n")
            for client in self._clients:
                assert _of(client.stdout).readline() == "ready\n"
            # A client has opened the file by now and waits, or is about to.
            fcntl.flock(gate, fcntl.LOCK_UN)
        return [json.loads(_of(client.stdout).readline()) for client in self._clients]


def _of(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
