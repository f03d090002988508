"""Records of the rules on Redis, spread over a few slots of a Cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import redis
from redis.cluster import RedisCluster

from revocation.redis_circuit import Circuits
from revocation.redis_client import Link, load_script

from .states import AnomaliesUnavailable

SHARDS = 16


class RedisStates:
    """Implements `States`: one round trip to load, and one to save; on a Cluster one a shard."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        namespace: str = "gatepass",
        circuits: Circuits | None = None,
    ) -> None:
        self._client = client
        self._link = Link(client, AnomaliesUnavailable, circuits)
        self._namespace = namespace
        # A script's keys lie on one node; without a Cluster all do.
        self._spread = isinstance(client, RedisCluster)
        self._save = client.register_script(load_script("issuer.anomalies", "save"))

    def _key(self, name: str) -> str:
        # Names end in a digest, or in a word that is the only one of its kind.
        shard = sum(name[-2:].encode()) % SHARDS
        return f"{self._namespace}:{{anomalies:{shard}}}:{name}"

    def load(self, names: Iterable[str]) -> dict[str, str]:
        wanted = list(names)
        if not wanted:
            return {}
        with self._link.use(self._key(wanted[0])):
            pipeline = self._client.pipeline(transaction=False)
            for name in wanted:
                pipeline.hget(self._key(name), "record")
            found = pipeline.execute()
        return {
            name: text.decode()
            for name, text in zip(wanted, found, strict=True)
            if text is not None
        }

    def save(self, records: Mapping[str, tuple[str, int]]) -> None:
        shards: defaultdict[str, list[tuple[str, str, int]]] = defaultdict(list)
        for name, (text, seconds) in records.items():
            key = self._key(name)
            shards[key.partition("}")[0] if self._spread else ""].append((key, text, seconds))
        for shard in shards.values():
            keys = [key for key, _, _ in shard]
            with self._link.use(keys[0]):
                self._save(
                    keys=keys, args=[part for _, text, ends in shard for part in (text, ends)]
                )

    def close(self) -> None:
        self._client.close()
