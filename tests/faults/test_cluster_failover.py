"""A node of a Cluster dies and its lagging replica takes over: families there, or the denylist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.fault_deployment import Deployment
from harness.fault_scenario import ENDED, Losing, Scenario, Session
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


def test_a_node_that_lags_shows_what_the_journal_is_for(
    gatepass: Gatepass, postgres_url: str, tmp_path: Path
) -> None:
    """Issuers that do not journal the end of a session let it refresh, and are found out."""
    with (
        RedisCluster(replicas=True) as cluster,
        Deployment(
            gatepass, postgres_url, tmp_path / "fleet", "no-journal", redis_url=cluster.url
        ) as altered,
    ):
        victim = (cluster.index_of(DENYLIST) + 1) % len(cluster.masters)
        scenario = altered.scenario()
        ended = on_node(scenario, cluster, victim)
        assert cluster.masters[victim].client().wait(1, 5000) == 1
        cluster.hold_replica_back(victim)
        scenario.end(ended).granted()
        scenario.refused(ended, ENDED)
        cluster.fail_over(victim)
        for at in range(1000):
            answer = scenario.fleet.issuers[at % 2].refresh(ended.refresh)
            if answer.status != 503:
                break
        assert answer.status == 200
