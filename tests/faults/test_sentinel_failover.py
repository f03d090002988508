"""Sentinel promotes a replica that lags, or one behind a split: nothing revoked comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.fault_deployment import Deployment
from harness.fault_scenario import ENDED, Scenario
from harness.fault_watch import CameBack, Watch, verdict
from harness.gatepass_command import Gatepass
from harness.processes import until
from harness.redis_sentinel import RedisSentinel
from harness.redis_server import RedisServer

from revocation import Entry, open_denylist
from revocation.entry import to_record


@pytest.fixture
def pair() -> Iterator[RedisSentinel]:
    """A master and its replica, watched."""
    with RedisSentinel() as running:
        yield running


def test_a_lagging_replica_that_is_promoted_is_made_good(
    pair: RedisSentinel, gatepass: Gatepass, postgres_url: str, tmp_path: Path
) -> None:
    """What the replica never got is refused; a lost rotation is told, and ends its session."""
    with Deployment(gatepass, postgres_url, tmp_path / "fleet", redis_url=pair.url) as deployment:
        scenario = deployment.scenario()
        past = scenario.begin_losing()
        assert pair.master.client().wait(1, 5000) == 1
        pair.hold_replica_back()
        scenario.lose(past)
        scenario.revoke_in_every_way()
        with Watch(scenario) as watch:
            pair.lose_master()
            watch.add_gateway("fresh gateway")
            pair.wait_promoted()
            watch.recovers()
            watch.assert_nothing_came_back()
            scenario.assert_lost(past)
            watch.passes()


def test_both_sides_of_a_split_refuse_what_either_revokes(
    pair: RedisSentinel, gatepass: Gatepass, postgres_url: str, tmp_path: Path
) -> None:
    """The old master goes on for one issuer and gateway while the others follow its successor."""
    split(pair, gatepass, postgres_url, tmp_path / "fleet")


def split(
    pair: RedisSentinel, gatepass: Gatepass, database_url: str, directory: Path, *alterations: str
) -> None:
    """Revoke on both sides of a split; raises `CameBack` if either takes what was revoked."""
    old_side = {"GATEPASS_REDIS_URL": pair.master.unix_url}
    with Deployment(
        gatepass,
        database_url,
        directory,
        *alterations,
        redis_url=pair.url,
        issuer_settings=[{}, old_side],
    ) as deployment:
        scenario = deployment.scenario()
        assert pair.master.client().wait(1, 5000) == 1
        with Watch(scenario, gateways=("", pair.master.unix_url)) as watch:
            pair.cut_off_master()
            pair.wait_promoted()
            for at in range(6):
                session = watch.patient_login("split", at)
                revoke = scenario.end if at < 3 else scenario.revoke_access
                for _ in until(30, "an acknowledgement", pause=0.02):
                    if revoke(session, at=at).status == 200:
                        break
            watch.dwells()
            # The split is mended: the old side's server and issuer are gone.
            pair.master.kill()
            scenario.fleet.issuers.pop().process.kill()
            watch.gateways.pop("gateway 1")
            watch.add_gateway("fresh gateway")
            watch.passes()


def test_a_split_shows_what_the_position_is_for(
    pair: RedisSentinel, gatepass: Gatepass, postgres_url: str, tmp_path: Path
) -> None:
    """Issuers that do not hold `seq` and hash against the store are found out."""
    with pytest.raises(CameBack, match="took what"):
        split(pair, gatepass, postgres_url, tmp_path / "fleet", "no-seq")


def test_a_replica_that_was_asked_for_has_what_was_acknowledged(
    pair: RedisSentinel, gatepass: Gatepass, postgres_url: str, tmp_path: Path
) -> None:
    """Without its word a revocation is 503, though in force; with it, it outlives the master."""
    with Deployment(
        gatepass,
        postgres_url,
        tmp_path / "fleet",
        redis_url=pair.url,
        settings={"GATEPASS_REDIS_REPLICAS": "1"},
    ) as deployment:
        scenario = Scenario(deployment.fleet, gatepass)
        scenario.keep_live(2)
        session = scenario.log_in()
        with Watch(scenario) as watch:
            pair.replica.pause()
            answer = scenario.end(session)
            assert (answer.status, answer.retry_after) == (503, "1"), answer
            for _ in until(10, "the gateway to refuse it"):
                if verdict(watch.gateways["gateway 0"], session.access) == "revoked by session":
                    break
            # Whoever meets an ended session completes its end, and that is not confirmed either.
            answer = scenario.fleet.issuers[1].refresh(session.refresh)
            assert (answer.status, answer.retry_after) == (503, "1"), answer
            pair.replica.resume()
            for _ in until(10, "an acknowledgement"):
                if scenario.end(session).status == 200:
                    break
            scenario.refused(session, ENDED)
            pair.master.kill()
            pair.wait_promoted()
            assert denies(pair.replica, session.sid)
            pair.return_master()
            watch.passes()


def denies(server: RedisServer, sid: str) -> bool:
    """Whether a session is on a server's denylist, whoever vouches for it."""
    denylist = open_denylist(server.unix_url)
    snapshot = denylist.snapshot()
    keys = {record.key for record in snapshot.records}
    denylist.close()
    return to_record(Entry.session(sid, 0), snapshot.state.salt).key in keys
