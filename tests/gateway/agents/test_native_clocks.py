"""Gateways that check tokens themselves, and their agents, where clocks are wrong.

Gateway and agent are of one machine, so that both go by the same wall clock; it is put under them,
who know nothing of it. Issuer and Redis have clocks of their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.altered_issuer import put_mapped_clock
from harness.issuer_app import PASSWORD, USERNAME
from harness.native_deployment import Deployment, deployed, refused
from harness.native_gateways import GATEWAYS, MAX_STALENESS, Envoy, Haproxy, asked_all_along
from harness.processes import monotonic
from harness.stepped_clock import SteppedClock

HOUR = 3600


@pytest.fixture
def clock(tmp_path: Path) -> SteppedClock:
    return SteppedClock(tmp_path)


@pytest.fixture(params=GATEWAYS)
def deployment(request: pytest.FixtureRequest, clock: SteppedClock) -> Iterator[Deployment]:
    """A gateway of each kind with all that belongs to it, whose clock a test steps."""
    with deployed(request.param, clock=clock) as running:
        yield running


def the_bound_passes() -> None:
    time.sleep(MAX_STALENESS)


def test_a_step_of_the_clock_forgets_nothing(deployment: Deployment, clock: SteppedClock) -> None:
    """Guarantee: an hour ahead or behind, and back again: nothing revoked passes.

    Tokens are expired by the one and from the future by the other; once the clock is right, those
    that are good pass at once.
    """
    live, first, second = (deployment.token() for _ in range(3))
    for each in (live, first, second):
        deployment.waits_for(200, each)
    refused(deployment.ends_within_the_bound(401, first, deployment.revoke(first)))
    with asked_all_along(deployment.gateway, first) as answers:
        for step in (HOUR, -HOUR):
            clock.put(step)
            refused(deployment.waits_for(401, live))
            the_bound_passes()
            clock.put(0)
            deployment.waits_for(200, live)
            the_bound_passes()
            deployment.waits_for(200, live)
        clock.put(HOUR)
        acknowledged = deployment.revoke(second)
        the_bound_passes()
        clock.put(0)
        refused(deployment.ends_within_the_bound(401, second, acknowledged))
        deployment.waits_for(200, live)
    assert set(answers) <= {401, 503}


@pytest.mark.parametrize("kind", GATEWAYS)
def test_a_clock_that_is_behind_takes_no_token_whose_entry_is_gone(
    kind: str, clock: SteppedClock
) -> None:
    """Guarantee: who starts on a machine an hour behind reads a denylist without what is over.

    By its clock a token that has expired since is alive, and if it was revoked nobody can tell it
    any more. One that outlives all that may be missing passes.
    """
    with deployed(kind, clock=clock) as deployment:
        gateway, agent = deployment.gateway, deployment.agent
        if isinstance(gateway, Haproxy):
            gateway.nothing_is_saved()
        agent.process.kill()
        gateway.process.kill()
        if isinstance(gateway, Envoy):
            (gateway.directory / "replica").unlink()
        clock.put(-HOUR)
        gateway.start()
        agent.start()
        begun = int(time.time()) - HOUR

        def alive_there(lifetime: int) -> str:
            return deployment.forged(iat=begun, auth_time=begun, exp=begun + lifetime)

        deployment.waits_for(200, alive_there(HOUR))
        assert gateway.ask(alive_there(600)).status == 503


@pytest.mark.parametrize("kind", GATEWAYS)
@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["behind", "ahead"])
def test_an_issuer_whose_clock_is_wrong_vouches_for_nothing(
    kind: str, step: int, tmp_path: Path
) -> None:
    """Guarantee: the gateway closes; what was asked for meanwhile holds once the clock is right.

    An issuer that is behind acknowledges nothing, by one that is ahead an entry lasts longer.
    """
    file = tmp_path / "clock"
    put_mapped_clock(file, 0.0)
    with deployed(kind, alterations=[f"own-clock={file}"]) as deployment:
        live, login = deployment.token(), deployment.login()
        for each in (live, login["access_token"]):
            deployment.waits_for(200, each)
        put_mapped_clock(file, step)
        site = deployment.issuer.site
        assert site.login(USERNAME, PASSWORD).status == 503
        stepped = monotonic()
        assert deployment.ends_within_the_bound(503, live, stepped).status == 503
        ended = site.post("/logout", {"refresh_token": login["refresh_token"]})
        assert ended.status == (503 if step < 0 else 200)
        put_mapped_clock(file, 0.0)
        refused(deployment.waits_for(401, login["access_token"], 30))
        deployment.waits_for(200, live, 30)
