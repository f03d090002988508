"""Waits until what was written is on disk and on as many replicas as were asked for."""

from __future__ import annotations

from typing import Any

import redis
from redis.cluster import RedisCluster

from .errors import TooFewConfirmations

TIMEOUT = 1.5
"""Seconds; an append-only file that is synchronised every second takes one and a little."""
_WAITAOF_SINCE = (7, 2)


class Confirmation:
    """What makes a revocation that was acknowledged outlive the server that took it.

    `WAITAOF` where the server has it (Redis 7.2, Valkey), else `WAIT`, which counts replicas that
    hold it in memory. On Redis before 7.2 the disk is `appendfsync always`'s affair.
    """

    def __init__(self, client: Any, key: str, replicas: int) -> None:
        """`key` is a hash of the server in question, written to by each confirmation."""
        self._client = client
        self._key = key
        self._replicas = replicas
        self._command: list[Any] | None = None

    def wait(self) -> None:
        """Return once all that was written before is confirmed. Raises `TooFewConfirmations`."""
        if self._command is None:
            self._command = self._choose()
        if not self._command:
            return
        # Both commands wait for the last write of their own connection, hence this one, which
        # comes after whatever any connection has written.
        pipeline = self._server().pipeline(transaction=False)
        pipeline.hset(self._key, "confirmed", 1)
        pipeline.execute_command(*self._command)
        try:
            answer = pipeline.execute()[1]
        except redis.ResponseError:
            self._command = None  # another server, another version: look again next time
            raise
        local, replicas = answer if isinstance(answer, list) else (1, answer)
        if replicas < self._replicas:
            raise TooFewConfirmations(replicas, self._replicas, "replicas")
        if local < 1 and self._command[1] == 1:
            raise TooFewConfirmations(local, 1, "disks")

    def _choose(self) -> list[Any]:
        server = self._server()
        info = server.info()
        version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
        milliseconds = int(TIMEOUT * 1000)
        if version >= _WAITAOF_SINCE and info.get("aof_enabled"):
            return ["WAITAOF", 1, self._replicas, milliseconds]
        return ["WAIT", self._replicas, milliseconds] if self._replicas else []

    def _server(self) -> Any:
        if isinstance(self._client, RedisCluster):
            node = self._client.get_node_from_key(self._key)  # type: ignore[no-untyped-call]
            return self._client.get_redis_connection(node)
        return self._client
