"""Until a moment and no longer: reads whose bytes drip in, and calls that nothing else bounds."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T], name: str) -> T:
    """What `call` returns or raises, in a thread of that name: names may take long to resolve.

    Raises `TimeoutError` once the time is over; the thread then ends whenever it can.
    """
    return beside(call, name).result(seconds)


def beside(call: Callable[[], T], name: str) -> Future[T]:
    """Begin a call in a thread that nobody has to wait for, the end of the process included."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:  # raised again where it is waited for
            outcome.set_exception(error)

    # In the caller's context: what is logged belongs to its request.
    threading.Thread(target=copy_context().run, args=(run,), name=name, daemon=True).start()
    return outcome


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
