"""One client process: asks a forward-auth service over a few kept-alive loopback connections.

`python -m benchmarks.asking` reads JSON lines. The first describes the targets; each further one,
`{"target": NAME, "seconds": S}`, is a round, answered by `{"requests", "seconds"}`. Each request
carries the next of the target's tokens, and every answer must be 200.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import cycle
from time import perf_counter
from typing import Any

ANSWER_TIMEOUT = 20.0


class Connection:
    """One connection; answers have no body."""

    def __init__(self, port: int, tokens: Iterator[str]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tokens = tokens
        self._received = b""

    def send(self) -> None:
        """Ask about the next token."""
        bearer = f"Authorization: Bearer {next(self._tokens)}"
        request = f"GET /verify HTTP/1.1\r\nHost: gatepass\r\n{bearer}\r\n\r\n"
        self.socket.sendall(request.encode("ascii"))

    def receive(self) -> bool:
        """Read what is there; True once the answer is whole."""
        chunk = self.socket.recv(65536)
        self._received += chunk
        if not self._received.endswith(b"\r\n\r\n"):
            if not chunk:
                raise RuntimeError(f"cut off after {self._received!r}")
            return False
        if not self._received.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"refused: {self._received.decode(errors='replace')}")
        self._received = b""
        return True


def ask(port: int, connections: int, tokens: Iterator[str], seconds: float) -> dict[str, float]:
    """Keep every connection busy for `seconds`."""
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        opened = [Connection(port, tokens) for _ in range(connections)]
        for connection in opened:
            stack.enter_context(closing(connection.socket))
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        answered, busy = 0, len(opened)
        start = perf_counter()
        for connection in opened:
            connection.send()
        while busy:
            ready = selector.select(ANSWER_TIMEOUT)
            if not ready:
                raise TimeoutError("the server does not answer")
            for key, _ in ready:
                if not key.data.receive():
                    continue
                answered += 1
                if perf_counter() - start < seconds:
                    key.data.send()
                else:
                    busy -= 1
        return {"requests": answered, "seconds": perf_counter() - start}


def main() -> None:
    """Serve rounds until standard input ends."""
    described: dict[str, dict[str, Any]] = json.loads(sys.stdin.readline())
    tokens: dict[str, Iterator[str]] = {
        name: cycle(target["tokens"]) for name, target in described.items()
    }
    for line in sys.stdin:
        order = json.loads(line)
        target = described[order["target"]]
        result = ask(
            target["port"], target["connections"], tokens[order["target"]], order["seconds"]
        )
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
