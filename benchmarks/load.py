"""One client process: refreshes many sessions over a few kept-alive loopback connections.

`python -m benchmarks.load` reads JSON lines. The first describes the targets; each further one,
`{"target": NAME, "seconds": S, "limit": N}`, is a round, answered by `{"requests", "seconds"}`.
Every request uses the newest refresh token of its session, and keeps the one that comes back.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, closing
from time import perf_counter
from typing import Any

ANSWER_TIMEOUT = 20.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.I)


class Connection:
    """One connection and the sessions that it takes in turn."""

    def __init__(self, port: int, style: str, sessions: deque[str]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._as_body = style == "body"
        self._host = f"127.0.0.1:{port}"
        self._sessions = sessions
        self._received = b""

    def send(self) -> None:
        """Ask for the next session's refresh."""
        token = self._sessions[0]
        body = json.dumps({"refresh_token": token}) if self._as_body else ""
        lines = ["POST /refresh HTTP/1.1", f"Host: {self._host}", f"Content-Length: {len(body)}"]
        if self._as_body:
            lines.append("Content-Type: application/json")
        else:
            lines.append(f"Authorization: Bearer {token}")
        self.socket.sendall("\r\n".join([*lines, "", body]).encode("ascii"))

    def receive(self) -> bool:
        """Read what is there; True once the answer is whole and its token is kept."""
        chunk = self.socket.recv(65536)
        self._received += chunk
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n") if found else None
        if length is None or len(body) < int(length[1]):
            if not chunk:
                raise RuntimeError(f"cut off after {self._received!r}")
            return False
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"refused: {self._received.decode(errors='replace')}")
        self._received = b""
        self._sessions.popleft()
        self._sessions.append(json.loads(body)["refresh_token"])
        return True


class Target:
    """A server, and this process's share of its sessions."""

    def __init__(self, port: int, style: str, connections: int, tokens: Sequence[str]) -> None:
        self._port = port
        self._style = style
        self._shares = [deque(tokens[start::connections]) for start in range(connections)]

    def round(self, seconds: float, limit: int) -> dict[str, float]:
        """Keep every connection busy for `seconds`, or until `limit` answers."""
        with ExitStack() as stack, selectors.DefaultSelector() as selector:
            connections = [Connection(self._port, self._style, share) for share in self._shares]
            for connection in connections:
                stack.enter_context(closing(connection.socket))
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            answered, busy = 0, len(connections)
            start = perf_counter()
            for connection in connections:
                connection.send()
            while busy:
                ready = selector.select(ANSWER_TIMEOUT)
                if not ready:
                    raise TimeoutError("the server does not answer")
                for key, _ in ready:
                    if not key.data.receive():
                        continue
                    answered += 1
                    if perf_counter() - start < seconds and answered < limit:
                        key.data.send()
                    else:
                        busy -= 1
            return {"requests": answered, "seconds": perf_counter() - start}


def main() -> None:
    """Serve rounds until standard input ends."""
    described: dict[str, dict[str, Any]] = json.loads(sys.stdin.readline())
    targets = {name: Target(**options) for name, options in described.items()}
    for line in sys.stdin:
        order = json.loads(line)
        result = targets[order["target"]].round(order["seconds"], order["limit"])
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
