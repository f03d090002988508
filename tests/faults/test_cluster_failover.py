"""A node of a Cluster dies and its lagging replica takes over: families there, or the denylist."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.fault_deployment import Deployment
from harness.fault_scenario import Losing, Scenario, Session
from harness.fault_watch import Watch
from harness.gatepass_command import Gatepass
from harness.postgres_server import PostgresServer
from harness.redis_cluster import RedisCluster

DENYLIST = "gatepass:{denylist}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """Three masters, each with a replica."""
    with RedisCluster(replicas=True) as running:
        yield running


@pytest.fixture(scope="module")
def deployment(
    cluster: RedisCluster,
    gatepass: Gatepass,
    postgres_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    """Issuers on the cluster."""
    url = postgres_server.create_database()
    directory = tmp_path_factory.mktemp("fleet") / "fleet"
    with Deployment(gatepass, url, directory, redis_url=cluster.url) as running:
        yield running
    postgres_server.drop_database(url)


def on_node(scenario: Scenario, cluster: RedisCluster, index: int) -> Session:
    """A session whose family this node holds: people are spread by chance."""
    for at in range(100):
        session = scenario.log_in("spread", at=at)
        if cluster.index_of(cluster.family_key(session.sid)) == index:
            return session
    raise AssertionError("nobody among a hundred people is on this node")


@pytest.mark.parametrize("holding", ["families", "denylist"])
def test_a_lagging_replica_of_a_node_is_made_good(
    cluster: RedisCluster, deployment: Deployment, holding: str
) -> None:
    """Sessions on other nodes go on; on this one a lost rotation is told, and ends its session."""
    denylist = cluster.index_of(DENYLIST)
    victim = denylist if holding == "denylist" else (denylist + 1) % len(cluster.masters)
    scenario = deployment.scenario()
    scenario.live += [on_node(scenario, cluster, index) for index in range(3) if index != victim]
    elsewhere = scenario.live[-2:]
    past = Losing([on_node(scenario, cluster, victim) for _ in range(2)])
    assert cluster.masters[victim].client().wait(1, 5000) == 1
    cluster.hold_replica_back(victim)
    for at, session in enumerate((*past.rotated, *elsewhere)):
        scenario.rotate(session, at=at)
    past.begun.append(on_node(scenario, cluster, victim))
    scenario.revoke_in_every_way()
    with Watch(scenario) as watch:
        cluster.fail_over(victim)
        watch.add_gateway("fresh gateway")
        watch.recovers()
        watch.assert_nothing_came_back()
        scenario.assert_lost(past)
        watch.passes()
