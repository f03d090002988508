"""One Redis is killed, full, emptied or back from the past: nothing revoked comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from harness.fault_deployment import Deployment
from harness.fault_scenario import ENDED, PASSWORD, UNKNOWN
from harness.fault_watch import RECOVERY, CameBack, Watch, verdict
from harness.gatepass_command import Gatepass
from harness.postgres_server import PostgresServer
from harness.processes import until
from harness.redis_copies import Copy, FileCopy, RestoredCopy

from revocation import open_denylist


@pytest.fixture(scope="module")
def make(
    postgres_server: PostgresServer,
    gatepass: Gatepass,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Deployment]]:
    """Makes deployments, altered ones too."""
    urls: list[str] = []

    def made(*alterations: str) -> Deployment:
        urls.append(postgres_server.create_database())
        directory = tmp_path_factory.mktemp("fleet") / "fleet"
        return Deployment(gatepass, urls[-1], directory, *alterations)

    yield made
    for url in urls:
        postgres_server.drop_database(url)


@pytest.fixture(scope="module")
def deployment(make: Callable[..., Deployment]) -> Iterator[Deployment]:
    """One for all faults that mend by themselves."""
    with make() as running:
        yield running


# --- kill -9 -------------------------------------------------------------------------------------


def test_a_killed_redis_forgets_nothing(deployment: Deployment) -> None:
    """After kill -9 and a restart what was ended is ended, and every session goes on."""
    scenario = deployment.scenario()
    with Watch(scenario) as watch:
        deployment.store.kill()
        watch.add_gateway("fresh gateway")
        deployment.store.start()
        watch.passes()


# --- maxmemory -----------------------------------------------------------------------------------


def fill(deployment: Deployment, patience: float = RECOVERY) -> None:
    """`maxmemory` under a scenario, then room; what was begun is finished within `patience`."""
    scenario = deployment.scenario()
    leaving = scenario.log_in("full")
    with Watch(scenario) as watch:
        client = deployment.store.client()
        client.config_set("maxmemory", "1")
        for at, issuer in enumerate(scenario.fleet.issuers):
            for answer in (
                issuer.login(leaving.username, PASSWORD),
                issuer.refresh(scenario.live[at].refresh),
                scenario.end(leaving, at=at),
            ):
                assert (answer.status, answer.retry_after) == (503, "1"), answer
        for _ in until(10, "the gateway to close"):
            if verdict(watch.gateways["gateway 0"], scenario.live[0].access) == "not now":
                break
        client.config_set("maxmemory", "0")
        for _ in until(patience, "the logout to be completed"):
            if verdict(watch.gateways["gateway 0"], leaving.access) == "revoked by session":
                break
        scenario.refused(leaving, ENDED)
        scenario.end(leaving).granted()
        watch.passes()


def test_a_full_redis_is_503_and_mends_by_itself(deployment: Deployment) -> None:
    """Nobody is acknowledged, gateways close, and with room what was begun is finished unasked."""
    fill(deployment)


def test_a_full_redis_shows_what_the_worker_is_for(make: Callable[..., Deployment]) -> None:
    """Issuers that leave undone rows alone are found out: the logout reaches no gateway."""
    with make("no-completion") as altered, pytest.raises(TimeoutError, match="to be completed"):
        fill(altered, patience=10)


# --- FLUSHALL ------------------------------------------------------------------------------------


def empty(deployment: Deployment) -> None:
    """FLUSHALL under a scenario; raises `CameBack` if that undoes a revocation."""
    scenario = deployment.scenario()
    lost, scenario.live = scenario.live, []
    with Watch(scenario) as watch:
        deployment.store.client().flushall()
        watch.add_gateway("fresh gateway")
        watch.recovers()
        watch.assert_nothing_came_back()
        for session in lost:
            scenario.refused(session, UNKNOWN)
        watch.let_everything_expire()


def test_an_emptied_redis_is_filled_again(deployment: Deployment) -> None:
    """After FLUSHALL everything is refused again; sessions are lost, and their owners told so."""
    empty(deployment)


@pytest.mark.parametrize("mutant", ["no-journal", "no-replay"])
def test_an_emptied_redis_shows_what_the_journal_is_for(
    make: Callable[..., Deployment], mutant: str
) -> None:
    """Issuers that write no journal, or do not replay it, are found out."""
    with make(mutant) as altered, pytest.raises(CameBack, match=r"revoked|ended"):
        empty(altered)


# --- an older copy -------------------------------------------------------------------------------


def go_back(deployment: Deployment, copy: Copy) -> None:
    """An older copy takes the place of the data, under a scenario that went on after it."""
    scenario = deployment.scenario()
    past = scenario.begin_losing()
    copy.take()
    scenario.lose(past)
    scenario.revoke_in_every_way()
    with Watch(scenario) as watch:
        copy.put_back()
        watch.add_gateway("fresh gateway")
        watch.recovers()
        watch.assert_nothing_came_back()
        scenario.assert_lost(past)
        watch.passes()


def test_an_older_append_only_file_is_made_good(deployment: Deployment) -> None:
    """What was revoked after the copy is refused; a lost rotation is told, and ends its session."""
    go_back(deployment, FileCopy(deployment.store))


def test_a_copy_restored_into_the_running_server_is_made_good(deployment: Deployment) -> None:
    """The same process, the same replication id, marked as filled: the position in SQL tells."""
    go_back(deployment, RestoredCopy(deployment.store))


def test_a_restored_copy_shows_what_the_position_is_for(make: Callable[..., Deployment]) -> None:
    """Issuers that do not hold `seq` and hash against the store are found out."""
    with make("no-seq") as altered, pytest.raises(CameBack, match=r"revoked|ended"):
        go_back(altered, RestoredCopy(altered.store))


def test_issuers_that_were_all_down_find_out_too(deployment: Deployment) -> None:
    """A copy that went further than what was lost does not deceive issuers that have just begun."""
    scenario = deployment.scenario()
    past = scenario.begin_losing()
    copy = RestoredCopy(deployment.store)
    copy.take()
    scenario.lose(past)
    scenario.revoke_in_every_way()
    with Watch(scenario) as watch:
        first, second = scenario.fleet.issuers
        first.process.kill()
        second.process.kill()
        denylist = open_denylist(deployment.store.unix_url, clock=scenario.fleet.now)
        lost = denylist.state().position
        copy.put_back()
        # Somebody who knows nothing of the database: the same epoch, a higher seq, another hash.
        while denylist.heartbeat(0).seq <= lost.seq:
            pass
        denylist.close()
        # The gateways fetch their keys from the first one, so that it comes first.
        first.process.start()
        first.wait_ready()
        watch.add_gateway("fresh gateway")
        second.process.start()
        second.wait_ready()
        watch.recovers()
        watch.assert_nothing_came_back()
        scenario.assert_lost(past)
        watch.passes()
