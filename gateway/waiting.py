"""Threads for what may wait, so that an event loop never does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 16
"""Of our own: the loop's default ones are the application's. Whatever else waits, waits for one."""


class WaitingThreads:
    """A pool that is made when first needed, in each process anew."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    async def run(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """What `call` returns or raises, in the caller's context."""
        if self._pool is None or self._process != os.getpid():
            self._pool = ThreadPoolExecutor(_THREADS, "gatepass-wait")
            self._process = os.getpid()
        work = partial(copy_context().run, call, *args, **options)
        return await asyncio.wrap_future(self._pool.submit(work))

    def stop(self) -> None:
        """Wait for nothing more; what has begun ends by itself."""
        if self._pool is not None and self._process == os.getpid():
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None
