"""Denylist and families behind Sentinel and on a Cluster: the same code, another address."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from harness.processes import free_port, until
from harness.redis_cluster import RedisCluster
from harness.redis_sentinel import RedisSentinel

from issuer.families import NewFamily, Repeated, RotationRules, open_families
from revocation import BadDenylistUrl, DenylistUnavailable, Entry, Position, open_denylist
from revocation.redis_client import check_url
from revocation.redis_condition import conditions

NOW = int(time.time())


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    """Three masters that share the slots."""
    with RedisCluster() as cluster:
        yield cluster.url


def use(url: str) -> None:
    """What an issuer and a gateway do, on whatever the URL leads to."""
    denylist = open_denylist(url, namespace=f"t{time.monotonic_ns()}")
    epoch = denylist.initialise(watermark=0).position.epoch
    denylist.mark_ready(epoch)
    denylist.heartbeat(0)
    reached = denylist.add(
        [Entry.session("A" * 22, NOW + 86_400), Entry.subject("bob", 2, NOW + 86_400)]
    )
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
            absolute_end=NOW + 86_400,
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


def test_each_master_tells_its_condition(cluster_url: str) -> None:
    """One of a Cluster each, so that no node's policy hides behind another's."""
    found = conditions(cluster_url, configured=True)
    assert len(found) >= 3
    assert {one.eviction for one in found} == {"noeviction"}


def test_reading_asks_no_node_but_the_one_that_holds_the_key(
    cluster_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where keys stand in a command is not asked of a node that may be gone."""
    denylist = open_denylist(cluster_url, namespace=f"t{time.monotonic_ns()}")
    denylist.initialise(watermark=0)
    position = denylist.mark_ready()
    reached = denylist.heartbeat(0)
    parser = denylist._client.commands_parser  # type: ignore[attr-defined]
    monkeypatch.delattr(type(parser), "_get_moveable_keys")
    assert denylist.state().position == reached
    assert [item.seq for item in denylist.tail(position, 1)] == [reached.seq]
    denylist.close()


def test_a_cluster_that_is_down_is_told_at_once() -> None:
    """A cluster must be asked for its layout first; the error names no address."""
    with pytest.raises(DenylistUnavailable) as refusal:
        open_denylist(f"redis+cluster://127.0.0.1:{free_port()}")
    assert "127.0.0.1" not in str(refusal.value)


def test_a_sentinel_leads_to_the_master_and_to_its_successor() -> None:
    """What was replicated is there after a failover, and the same client goes on writing."""
    with RedisSentinel() as pair:
        use(pair.url)
        denylist = open_denylist(pair.url)
        denylist.initialise(watermark=0)
        denylist.mark_ready()
        denylist.add([Entry.session("A" * 22, NOW + 86_400)])
        assert pair.master.client().wait(1, 5000) == 1
        pair.master.kill()
        for _ in until(60, "the failover"):
            try:
                denylist.add([Entry.session("B" * 21 + "A", NOW + 86_400)])
            except DenylistUnavailable:
                continue
            break
        assert len(list(denylist.snapshot().records)) == 2
        assert pair.replica.client().info("replication")["role"] == "master"
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
