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
        self.slots = set(slots)
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
        # One each: a server closes those that it gave out when it ends, and no sooner.
        clients = [node.client() for node in self._nodes]
        for epoch, (node, client) in enumerate(zip(self.masters, clients, strict=False), start=1):
            client.execute_command("CLUSTER", "ADDSLOTS", *node.slots)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for node in self._nodes[1:]:
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
        for _ in until(30, "the nodes to agree"):
            if all(map(self._agrees, clients)):
                break
        for master, replica in zip(self.masters, self.replicas, strict=False):
            client = replica.client()
            client.execute_command("CLUSTER", "REPLICATE", _own_id(master))
            for _ in until(30, "a replica to be in step"):
                if client.info("replication").get("master_link_status") == "up":
                    break

    def _agrees(self, client: redis.Redis) -> bool:
        told = str(client.execute_command("CLUSTER", "INFO"))
        known = f"cluster_known_nodes:{len(self._nodes)}" in told
        assigned = f"cluster_slots_ok:{SLOTS}" in told
        return known and assigned and "cluster_state:ok" in told

    # --- faults ------------------------------------------------------------------------------

    def index_of(self, key: str) -> int:
        """Which of the masters holds a key."""
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

    def return_master(self, index: int) -> None:
        """The one that was lost comes back, as a replica of its successor, and is called so."""
        lost, successor = self.masters[index], self.replicas[index]
        successor.slots, lost.slots = lost.slots, set()
        self.masters[index], self.replicas[index] = successor, lost
        lost.start()
        client = lost.client()
        for _ in until(30, "the lost node to follow its successor"):
            told = client.info("replication")
            if told["role"] == "slave" and told["master_link_status"] == "up":
                return

    def slots_beside(self, key: str, most: int) -> list[int]:
        """The slot of a key, and a few of the same node that hold keys as well."""
        own = key_slot(key.encode())
        node = self.masters[self.index_of(key)]
        client = node.client()
        held = [
            slot
            for slot in sorted(node.slots - {own})
            if client.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot)
        ]
        return [own, *held[:most]]

    def move_slots(self, slots: list[int], home: int, target: int) -> None:
        """Move slots with all that is in them, one after the other, while they are in use."""
        source, goal = self.masters[home], self.masters[target]
        for slot in slots:
            self._announce(goal, slot, "IMPORTING", _own_id(source))
            self._announce(source, slot, "MIGRATING", _own_id(goal))
            while keys := source.client().execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
                source.client().migrate("127.0.0.1", str(goal.port), keys, 0, 5000)
            for node in (goal, source, *self.masters):
                self._announce(node, slot, "NODE", _own_id(goal))
            source.slots.remove(slot)
            goal.slots.add(slot)

    def _announce(self, node: RedisServer, slot: int, state: str, other: str) -> None:
        node.client().execute_command("CLUSTER", "SETSLOT", slot, state, other)


def _own_id(node: RedisServer) -> str:
    answer = node.client(decode_responses=True).execute_command("CLUSTER", "MYID")
    return str(answer)
