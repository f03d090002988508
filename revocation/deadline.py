"""Reading from a socket until a moment, however steadily its bytes drip in."""

from __future__ import annotations

import io
import socket
import time
from typing import Any


class UntilDeadline(io.RawIOBase):
    """Reads from a socket until a moment of `time.monotonic`, then raises `TimeoutError`."""

    def __init__(self, deadline: float, sock: socket.socket, inner: io.RawIOBase) -> None:
        super().__init__()
        self._deadline = deadline
        self._sock = sock
        self._inner = inner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._inner.readinto(buffer)

    def close(self) -> None:
        self._inner.close()
        super().close()
