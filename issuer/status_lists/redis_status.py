"""Places on Redis: a hash for each list, one Lua call for each token."""

from __future__ import annotations

from collections.abc import Mapping

import redis

from revocation.redis_circuit import Circuits
from revocation.redis_client import Link, load_script

from .store import (
    FILL,
    KEPT,
    SPAN,
    StatusRecord,
    StatusUnavailable,
    UnknownStatusList,
    new_list_id,
    random_places,
)


class RedisStatusStore:
    """Implements `StatusStore`; all keys share one hash tag."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        namespace: str = "gatepass",
        circuits: Circuits | None = None,
    ) -> None:
        self._client = client
        self._link = Link(client, StatusUnavailable, circuits)
        self._base = f"{namespace}:{{status}}"
        self._assign = client.register_script(load_script("issuer.status_lists", "assign"))

    def assign(self, record: StatusRecord, now: int) -> tuple[str, int]:
        with self._link.use(self._base):
            list_id, place = self._assign(
                keys=[self._base],
                args=[
                    now,
                    new_list_id(),
                    record.pack(),
                    KEPT,
                    SPAN,
                    FILL,
                    *random_places(),
                ],
            )
        return str(list_id, "ascii"), int(place)

    def read(self, list_id: str, now: int) -> Mapping[int, StatusRecord]:  # noqa: ARG002
        with self._link.use(self._base):
            found = self._client.hgetall(f"{self._base}:{list_id}")
        if not found:
            raise UnknownStatusList(list_id)
        return {int(place): StatusRecord.unpack(record) for place, record in found.items()}

    def close(self) -> None:
        self._client.close()
