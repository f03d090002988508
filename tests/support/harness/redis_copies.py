"""Copies of a Redis' data, and how each is put back while its users live on."""

from __future__ import annotations

import shutil
from typing import Any, Protocol

from harness.redis_server import RedisServer


class Copy(Protocol):
    """An older state of one server."""

    def take(self) -> None:
        """Keep the data as it is now."""

    def put_back(self) -> None:
        """Let what was kept take the place of what is there."""


class FileCopy:
    """A copy of the append-only files, as a snapshot of their volume would be."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._log = server.directory / "appendonlydir"
        self._kept = server.directory / "kept"

    def take(self) -> None:
        # Every write is in the files before its answer, so while it is stopped they are whole.
        self._server.pause()
        shutil.copytree(self._log, self._kept)
        self._server.resume()

    def put_back(self) -> None:
        self._server.kill()
        shutil.rmtree(self._log)
        self._kept.rename(self._log)
        self._server.start()


class RestoredCopy:
    """A dump that is restored key by key into the server that runs: it notices nothing."""

    def __init__(self, server: RedisServer) -> None:
        self._client: Any = server.client()
        self._kept: list[tuple[bytes, int, bytes]] = []

    def take(self) -> None:
        # In one moment, as a file is: heartbeats go on meanwhile.
        keys = list(self._client.scan_iter())
        pipeline = self._client.pipeline(transaction=True)
        for key in keys:
            pipeline.execute_command("PEXPIRETIME", key)
            pipeline.dump(key)
        found = pipeline.execute()
        self._kept = [
            (key, max(expires, 0), content)
            for key, expires, content in zip(keys, found[::2], found[1::2], strict=True)
            if content is not None
        ]

    def put_back(self) -> None:
        pipeline = self._client.pipeline(transaction=True)
        pipeline.flushall()
        for key, expires, content in self._kept:
            pipeline.restore(key, expires, content, absttl=True)
        pipeline.execute()
