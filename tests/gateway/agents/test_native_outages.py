"""Revocation at gateways that check tokens themselves, and whatever breaks there."""

from __future__ import annotations

import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness.gatepass_command import Gatepass
from harness.issuer_app import NEW_PASSWORD, PASSWORD, claims_of
from harness.native_deployment import (
    OUTAGES,
    PAUSE,
    Deployment,
    deployed,
    refused,
    until_expiry,
)
from harness.native_gateways import GATEWAYS, MAX_STALENESS, Haproxy, asked_all_along
from harness.processes import monotonic, until
from harness.web import Answer, ask

from issuer.replica_reading import parse_metrics
from revocation import Entry
from revocation.packed_table import Word
from revocation.replica import OUTLIVED_BY

# --- revocation ---------------------------------------------------------------------------------


def ends(deployment: Deployment, token: str, acknowledged: float) -> None:
    """Guarantee: no request that began past the bound after the acknowledgement has passed."""
    refused(deployment.ends_within_the_bound(401, token, acknowledged))


def test_each_kind_of_revocation_is_seen(deployment: Deployment) -> None:
    """Logout, one token, password change, a client: refused within the bound, others pass."""
    site, other = deployment.issuer.site, deployment.token()
    login = deployment.login()
    deployment.waits_for(200, login["access_token"])
    site.post("/logout", {"refresh_token": login["refresh_token"]}).granted()
    ends(deployment, login["access_token"], monotonic())
    token = deployment.token()
    ends(deployment, token, deployment.revoke(token))
    parties: dict[str, dict[str, Any]] = {
        "kiosk": {"client_id": "kiosk"},
        "tablet": {"aud": ["api", "tablet"]},
    }
    for name, party in parties.items():
        token = deployment.forged(**party)
        assert deployment.ask(token).status == 200
        deployment.denylist.add([Entry.client(name, int(time.time()) - 1, until_expiry())])
        assert deployment.ask(deployment.forged(**party)).status == 200
        deployment.denylist.add([Entry.client(name, int(time.time()) + 1, until_expiry())])
        ends(deployment, token, monotonic())
        later = int(time.time()) + 5
        assert deployment.ask(deployment.forged(iat=later, **party)).status == 200
    assert deployment.ask(other).status == 200
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD, "transport": "body"}
    changed = site.post("/password", change, token=other).granted()["access_token"]
    ends(deployment, other, monotonic())
    assert deployment.ask(changed).status == 200
    back = {"current_password": NEW_PASSWORD, "new_password": PASSWORD, "transport": "body"}
    site.post("/password", back, token=changed).granted()


def test_envoy_takes_no_token_whose_entry_may_be_gone() -> None:
    """A clock that was ahead and is put back has let go of what a token may need; others pass."""
    with deployed("envoy") as running:
        sooner, later = running.forged(), running.forged(exp=int(time.time()) + 250)
        for token in (sooner, later):
            running.waits_for(200, token)
        file = running.gateway.directory / "replica"
        with file.open("r+b") as octets:
            octets.seek(8 * Word.SWEPT)
            octets.write(struct.pack("<Q", claims_of(sooner)["exp"] + OUTLIVED_BY))
        running.waits_for(503, sooner)
        assert running.ask(later).status == 200


def test_many_requests_at_once(deployment: Deployment) -> None:
    """Requests that a worker takes up in between disturb none: each token gets its own answer."""
    subjects = [f"person {number}" for number in range(20)]
    wanted = {deployment.forged(sub=sub, sub_ver=1): 200 for sub in subjects[:10]}
    wanted |= {deployment.forged(sub=sub, sub_ver=1): 401 for sub in subjects[10:]}
    deployment.denylist.add([Entry.subject(sub, 2, until_expiry()) for sub in subjects[10:]])
    for token, status in wanted.items():
        deployment.waits_for(status, token)

    def ask_all(_: int) -> list[tuple[int, int]]:
        return [(deployment.ask(token).status, status) for token, status in wanted.items()]

    with ThreadPoolExecutor(8) as pool:
        for answers in pool.map(ask_all, range(16)):
            assert all(found == status for found, status in answers), answers


def test_a_lost_role_refuses_older_versions_alone(deployment: Deployment) -> None:
    """Tokens below the subject's least version are refused, those at it and above pass."""
    sub = "somebody"
    levels = {version: deployment.forged(sub=sub, sub_ver=version) for version in (4, 5, 6)}
    deployment.denylist.add([Entry.subject(sub, 5, until_expiry())])
    ends(deployment, levels[4], monotonic())
    assert [deployment.ask(levels[version]).status for version in (5, 6)] == [200, 200]
    deployment.denylist.add([Entry.subject(sub, 6, until_expiry())])
    ends(deployment, levels[5], monotonic())
    assert deployment.ask(levels[6]).status == 200


# --- what breaks --------------------------------------------------------------------------------


def closed(answer: Answer) -> None:
    """The answer of a gateway that cannot tell."""
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert "www-authenticate" not in answer.headers


def test_gateway_restarts(deployment: Deployment) -> None:
    """A gateway that has just started passes nothing until it knows what was revoked.

    HAProxy knows nothing then. Envoy has the copy in a file; it passes nothing without it, and
    with it refuses what the file says.
    """
    gateway, agent = deployment.gateway, deployment.agent.process
    token, revoked = deployment.token(), deployment.token()
    deployment.revoke(revoked)
    deployment.waits_for(401, revoked)
    if isinstance(gateway, Haproxy):
        gateway.nothing_is_saved()
    agent.pause()
    gateway.process.kill()
    try:
        if isinstance(gateway, Haproxy):
            gateway.start()
            closed(gateway.ask(token))
        else:
            copy = gateway.directory / "replica"
            away = copy.rename(gateway.directory / "away")
            gateway.start()
            for each in (token, revoked):
                closed(gateway.ask(each))
            away.rename(copy)
            refused(deployment.ask(revoked))
    finally:
        agent.resume()
    deployment.waits_for(200, token)
    refused(deployment.ask(revoked))


def test_agent_restarts(deployment: Deployment) -> None:
    """The gateway goes on from what it has; what was revoked meanwhile is refused as well."""
    token, before, meanwhile = (deployment.token() for _ in range(3))
    deployment.revoke(before)
    deployment.waits_for(401, before)
    deployment.agent.process.kill()
    assert deployment.ask(token).status == 200
    refused(deployment.ask(before))
    acknowledged = deployment.revoke(meanwhile)
    deployment.agent.start()
    ends(deployment, meanwhile, acknowledged)
    deployment.waits_for(200, token)
    refused(deployment.ask(before))


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_without_its_agent_it_closes(deployment: Deployment, how: str) -> None:
    """Guarantee: later than the bound after its agent's end nothing passes any more."""
    token, revoked = deployment.token(), deployment.token()
    deployment.waits_for(200, token)
    agent = deployment.agent.process
    if how == "killed":
        agent.kill()
    else:
        agent.pause()
    ended = monotonic()
    acknowledged = deployment.revoke(revoked)
    closed(deployment.ends_within_the_bound(503, token, ended))
    closed(deployment.ends_within_the_bound(503, revoked, acknowledged))
    if how == "killed":
        deployment.agent.start()
    else:
        agent.resume()
    deployment.waits_for(200, token)
    refused(deployment.ask(revoked))


def test_the_gateway_is_stopped(deployment: Deployment) -> None:
    """Guarantee: a gateway that slept past the bound passes nothing of what it slept through."""
    token, revoked = deployment.token(), deployment.token()
    for each in (token, revoked):
        deployment.waits_for(200, each)
    deployment.gateway.process.pause()
    acknowledged = deployment.revoke(revoked)
    for _ in until(2 * MAX_STALENESS, "the bound", PAUSE):
        if monotonic() > acknowledged + MAX_STALENESS:
            break
    deployment.gateway.process.resume()
    ends(deployment, revoked, acknowledged)
    deployment.waits_for(200, token, 30)


def test_its_agent_tells_how_it_stands(deployment: Deployment) -> None:
    """Prometheus and the console see its staleness, and how late a revocation came.

    They have the token for it, which an access token is not.
    """
    token = deployment.token()
    deployment.waits_for(200, token)
    before = parse_metrics(deployment.agent.metrics())
    deployment.revoke(token)
    deployment.waits_for(401, token)
    # In step, too: a busy machine may hold the agent up for a moment.
    for _ in until(30, "the revocation to be timed, by an agent in step"):
        text = deployment.agent.metrics()
        told = parse_metrics(text)
        if told.latency[-1][1] > before.latency[-1][1] and told.in_step:
            break
    assert told.staleness is not None
    assert 0 < told.staleness <= MAX_STALENESS
    assert told.entries >= 1
    keys_ready = "gatepass_keys_ready 1.0" in text
    assert keys_ready is isinstance(deployment.gateway, Haproxy)
    for other in (None, deployment.token()):
        ask("GET", deployment.agent.metrics_url, token=other).refused(401, "invalid_token")


@pytest.mark.parametrize("how", OUTAGES)
def test_without_redis_it_closes(deployment: Deployment, how: str) -> None:
    """Guarantee: without news it closes; with Redis it opens again, and forgets nothing.

    Redis is killed, stands still, or goes on while its answers to the agent vanish.
    """
    begin, end = OUTAGES[how]
    token, meanwhile, *revoked = (deployment.token() for _ in range(4))
    deployment.revoke(revoked[0])
    deployment.waits_for(401, revoked[0])
    deployment.revoke(revoked[1])
    begin(deployment)
    gone = monotonic()
    if how == "cut off":
        deployment.revoke(meanwhile)
        revoked.append(meanwhile)
    closed(deployment.ends_within_the_bound(503, token, gone))
    for _ in until(5, "the agent's word that it is not in step"):
        if not parse_metrics(deployment.agent.metrics()).in_step:
            break
    assert 200 not in [deployment.gateway.ask(each).status for each in revoked]
    end(deployment)
    deployment.waits_for(200, token, 30)
    for each in revoked:
        refused(deployment.ask(each))


def test_a_new_key_is_taken_up_and_revoked(deployment: Deployment, gatepass: Gatepass) -> None:
    """A pending key is known before it signs; revoked, it is refused within the bound.

    Valid tokens pass meanwhile: test_native_keys.py.
    """
    token, pending = deployment.token(), deployment.new_key(gatepass)
    fresh = deployment.forged(signed_by=pending)
    deployment.waits_for(200, fresh, 60)
    deployment.waits_for(200, token)
    gatepass("keys", "revoke", pending.kid, env=deployment.settings).done()
    ends(deployment, fresh, monotonic())
    deployment.waits_for(200, token)


def the_epoch_is_lost(deployment: Deployment) -> None:
    """Redis forgets everything, and the issuer fills a new epoch from its journal."""
    token, before, last, meanwhile = (deployment.token() for _ in range(4))
    for each in (token, last, meanwhile):
        deployment.waits_for(200, each)
    deployment.revoke(before)
    refused(deployment.waits_for(401, before))
    with asked_all_along(deployment.gateway, before) as answers:
        # Its agent gets this from the journal alone: nothing of it comes over a connection before.
        deployment.agent.process.pause()
        store = deployment.redis.client()
        store.client_kill_filter(_type="normal")
        acknowledged = deployment.revoke_again_and_again(last)
        store.flushall()
        deployment.agent.process.resume()
        ends(deployment, last, acknowledged)
        # Acknowledged in the new epoch, so a gateway that refuses it has come there.
        ends(deployment, meanwhile, deployment.revoke_again_and_again(meanwhile))
        deployment.waits_for(200, token, 30)
    assert set(answers) <= {401, 503}
    for each in (before, last, meanwhile):
        refused(deployment.ask(each))


def test_the_epoch_is_lost(deployment: Deployment) -> None:
    """Guarantee: what was revoked before it was lost, and since, is refused in the new one."""
    the_epoch_is_lost(deployment)


@pytest.mark.parametrize("kind", GATEWAYS)
def test_an_epoch_that_is_not_filled_is_found_out(kind: str) -> None:
    """A mutant of the issuer calls it ready without what the journal holds."""
    with (
        deployed(kind, alterations=["no-replay"]) as deployment,
        pytest.raises(AssertionError, match=r"passed \d+\.\d+ s after it"),
    ):
        the_epoch_is_lost(deployment)


def test_a_new_epoch_has_its_own_watermark(deployment: Deployment) -> None:
    """Guarantee: what was issued before it is refused; entries of the epoch before count, too."""
    now = int(time.time())
    revoked = deployment.forged(iat=now - 100)
    deployment.denylist.add([Entry.token(claims_of(revoked)["jti"], until_expiry())])
    ends(deployment, revoked, monotonic())
    named = deployment.forged(sub="gone", sub_ver=1)
    deployment.denylist.add([Entry.subject("gone", 2, until_expiry())])
    ends(deployment, named, monotonic())
    before, after = (deployment.forged(iat=now - age) for age in (200, 199))
    assert [deployment.ask(token).status for token in (before, after)] == [200, 200]
    # Tokens of the other tests are younger.
    deployment.denylist.replace(now - 200)
    ends(deployment, before, monotonic())
    deployment.waits_for(200, after, 30)
    refused(deployment.ask(revoked))
    refused(deployment.ask(named))
