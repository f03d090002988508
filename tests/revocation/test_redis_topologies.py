"""Denylist and families behind Sentinel and on a Cluster: the same code, another address."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis
from harness.processes import Process, free_port, require_binary, short_directory, until
from harness.redis_server import RedisServer

from issuer.families import NewFamily, Repeated, RotationRules, open_families
from revocation import BadDenylistUrl, DenylistUnavailable, Entry, Position, open_denylist
from revocation.redis_client import check_url

NOW = int(time.time())
SERVICE = "gatepass"


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    """Three masters that share the slots."""
    buses = [free_port() for _ in range(3)]
    configs = [{"cluster-enabled": "yes", "cluster-port": str(bus)} for bus in buses]
    with (
        RedisServer(tcp=True, config=configs[0]) as one,
        RedisServer(tcp=True, config=configs[1]) as two,
        RedisServer(tcp=True, config=configs[2]) as three,
    ):
        nodes = [one, two, three]
        clients = [node.client() for node in nodes]
        for index, client in enumerate(clients):
            first, last = index * 5462, min(16383, index * 5462 + 5461)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for node, bus in zip(nodes[1:], buses[1:], strict=True):
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        for _ in until(30, "the nodes to agree"):
            states = [client.execute_command("CLUSTER", "INFO") for client in clients]
            if all("cluster_state:ok" in str(state) for state in states):
                break
        yield "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


def use(url: str) -> None:
    """What an issuer and a gateway do, on whatever the URL leads to."""
    denylist = open_denylist(url, namespace=f"t{time.monotonic_ns()}")
    epoch = denylist.initialise(watermark=0).position.epoch
    denylist.mark_ready(epoch)
    denylist.heartbeat(0)
    reached = denylist.add([Entry.session("A" * 22, NOW + 300), Entry.subject("bob", 2, NOW + 300)])
    assert reached.seq == 2
    assert len(list(denylist.snapshot().records)) == 2
    assert [item.seq for item in denylist.tail(Position(epoch, 0, ""), 1)] == [1, 2]
    denylist.close()
    families = open_families(url, RotationRules())
    for number in range(20):
        new = NewFamily(
            sub=f"person-{number}",
            sid="A" * 22,
            client_id="app",
            credential_version=1,
            auth_time=NOW,
            amr=("pwd",),
            scope="",
            idle=100,
            absolute_end=NOW + 1000,
        )
        families.create(new)
        outcome = families.rotate(new.sub, new.sid, 1, credential_version=1)
        assert type(outcome) is Repeated
        assert [family.sid for family in families.of_subject(new.sub)] == [new.sid]
    assert dict(families.versions()) == {f"person-{number}": 1 for number in range(20)}
    assert families.clear(below=2) == 20
    assert list(families.versions()) == []
    families.ping()
    families.close()


def test_a_cluster_holds_denylist_and_families(cluster_url: str) -> None:
    """The denylist's keys share one slot; families are spread by subject."""
    use(cluster_url)


def test_a_cluster_that_is_down_is_told_at_once() -> None:
    """A cluster must be asked for its layout first; the error names no address."""
    with pytest.raises(DenylistUnavailable) as refusal:
        open_denylist(f"redis+cluster://127.0.0.1:{free_port()}")
    assert "127.0.0.1" not in str(refusal.value)


@pytest.fixture
def sentinel() -> Iterator[tuple[str, RedisServer, RedisServer]]:
    """A master, its replica, and one sentinel that watches them: URL, master, replica."""
    directory = short_directory("gp-sentinel-")
    port = free_port()
    binary = require_binary("redis-server", "redis-server")
    with RedisServer(tcp=True) as master:
        follows = {"replicaof": f"127.0.0.1 {master.port}"}
        with RedisServer(tcp=True, config=follows) as replica:
            for _ in until(30, "the replica to be in step"):
                if replica.client().info("replication")["master_link_status"] == "up":
                    break
            config = directory / "sentinel.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
                f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 1\n"
                f"sentinel down-after-milliseconds {SERVICE} 500\n"
                f"sentinel failover-timeout {SERVICE} 3000\n"
            )
            with Process([binary, str(config), "--sentinel"]):
                asked = redis.Redis(port=port, socket_timeout=2)
                for _ in until(30, "the sentinel to know the replica"):
                    if knows_replica(asked):
                        break
                asked.close()
                yield f"redis+sentinel://127.0.0.1:{port}/{SERVICE}", master, replica


def knows_replica(sentinel: redis.Redis) -> bool:
    """Whether the sentinel has found the replica, which it needs for a failover."""
    try:
        found = sentinel.execute_command("SENTINEL", "REPLICAS", SERVICE)
    except redis.RedisError:
        return False
    return bool(found)


def test_a_sentinel_leads_to_the_master_and_to_its_successor(
    sentinel: tuple[str, RedisServer, RedisServer],
) -> None:
    """What was replicated is there after a failover, and the same client goes on writing."""
    url, master, replica = sentinel
    use(url)
    denylist = open_denylist(url)
    denylist.initialise(watermark=0)
    denylist.mark_ready()
    denylist.add([Entry.session("A" * 22, NOW + 300)])
    assert master.client().wait(1, 5000) == 1
    master.kill()
    for _ in until(60, "the failover"):
        try:
            denylist.add([Entry.session("B" * 21 + "A", NOW + 300)])
        except DenylistUnavailable:
            continue
        break
    assert len(list(denylist.snapshot().records)) == 2
    assert replica.client().info("replication")["role"] == "master"
    denylist.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://127.0.0.1:26379",
        "redis+sentinel:///service",
        "redis+sentinel://127.0.0.1:port/service",
        "redis+cluster://",
        "redis+cluster://127.0.0.1:99999999",
    ],
)
def test_an_address_of_several_servers_is_checked(url: str) -> None:
    """A broken one is refused without asking anybody."""
    with pytest.raises(ValueError, match=r".*"):
        check_url(url)
    with pytest.raises(BadDenylistUrl):
        open_denylist(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://user:p%40ss@127.0.0.1:26379,127.0.0.2/service?db=3",
        "rediss+sentinel://127.0.0.1/service",
        "redis+cluster://127.0.0.1:7000,127.0.0.1:7001",
        "rediss+cluster://[::1]:7000",
    ],
)
def test_a_good_address_of_several_servers_passes_unasked(url: str) -> None:
    """Checking settings connects to nothing."""
    check_url(url)
