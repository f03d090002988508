"""A Redis Cluster on loopback: masters that share the slots, and replicas of some of them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

import redis
from harness.processes import free_port, until
from harness.redis_server import RedisServer
from redis.crc import key_slot

SLOTS = 16384


class ClusterNode(RedisServer):
    """One node; `slots` are a master's."""

    def __init__(self, slots: range = range(0)) -> None:
        self.slots = slots
        self.bus = free_port()
        config = {
            "cluster-enabled": "yes",
            "cluster-port": str(self.bus),
            # Whoever's slots are there is served, whatever became of other slots.
            "cluster-require-full-coverage": "no",
        }
        super().__init__(tcp=True, config=config)


class RedisCluster:
    """Three masters; entered, all nodes agree, and the replicas asked for are in step."""

    def __init__(self, *, replicas: bool = False) -> None:
        """`replicas`: one for each master."""
        third = SLOTS // 3 + 1
        self.masters = [
            ClusterNode(range(first, min(first + third, SLOTS))) for first in range(0, SLOTS, third)
        ]
        self.replicas = [ClusterNode() for _ in self.masters] if replicas else []
        self._held: set[ClusterNode] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self._nodes:
                stack.enter_context(node)
            self._meet()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def _nodes(self) -> list[ClusterNode]:
        return [*self.masters, *self.replicas]

    @property
    def url(self) -> str:
        """The address that names every master."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.masters)

    def _meet(self) -> None:
        for epoch, node in enumerate(self.masters, start=1):
            client = node.client()
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", node.slots[0], node.slots[-1])
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        first, *others = self._nodes
        for node in others:
            first.client().execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
        for _ in until(30, "the nodes to agree"):
            if all(self._agrees(node) for node in self._nodes):
                break
        for master, replica in zip(self.masters, self.replicas, strict=False):
            client = replica.client()
            client.execute_command("CLUSTER", "REPLICATE", _own_id(master))
            for _ in until(30, "a replica to be in step"):
                if client.info("replication").get("master_link_status") == "up":
                    break

    def _agrees(self, node: ClusterNode) -> bool:
        client = node.client()
        told = str(client.execute_command("CLUSTER", "INFO"))
        known = f"cluster_known_nodes:{len(self._nodes)}" in told
        assigned = f"cluster_slots_ok:{SLOTS}" in told
        return known and assigned and "cluster_state:ok" in told

    # --- faults ------------------------------------------------------------------------------

    def index_of(self, key: str) -> int:
        """Which of the masters holds a key, as the cluster began."""
        slot = key_slot(key.encode())
        return next(index for index, node in enumerate(self.masters) if slot in node.slots)

    def family_key(self, sid: str) -> str:
        """The key of a session's family, looked for on every node."""
        for node in self._nodes:
            if node.process.running and node not in self._held:
                for key in node.client(decode_responses=True).scan_iter(match=f"*:family:{sid}"):
                    return str(key)
        raise KeyError(sid)

    def hold_replica_back(self, index: int) -> None:
        """Nothing that this master takes from now on reaches its replica."""
        self.replicas[index].pause()
        self._held.add(self.replicas[index])
        # Cut from the master's side: what lies in the socket of a stopped process is still read.
        self.masters[index].client().client_kill_filter(_type="replica")

    def fail_over(self, index: int) -> None:
        """The master dies, and its replica takes its place as it is."""
        self.masters[index].kill()
        replica = self.replicas[index]
        replica.resume()
        self._held.discard(replica)
        client = replica.client()
        for _ in until(30, "the takeover"):
            if client.info("replication")["role"] == "master":
                return
            try:
                client.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
            except redis.ResponseError:
                continue


def _own_id(node: RedisServer) -> str:
    answer = node.client(decode_responses=True).execute_command("CLUSTER", "MYID")
    return str(answer)
