"""New keys at gateways that check tokens themselves, under load: no valid token is refused."""

from __future__ import annotations

import secrets
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from harness.gatepass_command import Gatepass
from harness.native_deployment import Deployment, deployed, until_expiry
from harness.native_gateways import GATEWAYS, Haproxy, asked_all_along
from harness.processes import until

from gateway.agents.haproxy_runtime import HaproxyUnavailable, Runtime, reload
from issuer.replica_reading import parse_metrics
from revocation import Entry
from tokens import base64url

ENTRIES = 20_000
MAX_STALENESS = 30.0
"""Seconds. Not what is asked here: a machine that stands still for two must fail no test."""


@contextmanager
def with_entries(kind: str, max_staleness: float = MAX_STALENESS) -> Iterator[Deployment]:
    """A gateway whose agent holds so many entries that HAProxy is not filled in no time."""
    with deployed(kind, max_staleness=max_staleness) as deployment:
        for _ in range(ENTRIES // 1000):
            ids = (base64url.encode(secrets.token_bytes(16)) for _ in range(1000))
            deployment.denylist.add([Entry.token(each, until_expiry()) for each in ids])
        until_in_step(deployment, ENTRIES)
        yield deployment


def until_in_step(deployment: Deployment, entries: int) -> None:
    for _ in until(60, "an agent in step"):
        told = parse_metrics(deployment.agent.metrics())
        if told.in_step and told.entries is not None and told.entries >= entries:
            return


def answers_meanwhile(
    deployment: Deployment, act: Callable[[], object]
) -> tuple[Counter[int], Counter[int]]:
    """What a good token gets and what a revoked one, asked until this has been done, and on."""
    good, revoked = deployment.token(), deployment.token()
    deployment.waits_for(200, good)
    deployment.revoke(revoked)
    deployment.waits_for(401, revoked)
    with (
        asked_all_along(deployment.gateway, good) as passed,
        asked_all_along(deployment.gateway, revoked) as refused,
    ):
        act()
        asked = passed.total()
        for _ in until(60, "a hundred requests more"):
            if passed.total() >= asked + 100:
                break
        until_in_step(deployment, ENTRIES)
    return passed, refused


@pytest.mark.parametrize("kind", GATEWAYS)
def test_a_new_key_closes_nothing(kind: str, gatepass: Gatepass) -> None:
    """A valid token passes all the time in which a key is taken up, and no revoked one does.

    HAProxy has to reload for it, and starts with what its agent has saved.
    """
    with with_entries(kind) as deployment:

        def take_up() -> None:
            pending = deployment.new_key(gatepass)
            deployment.waits_for(200, deployment.forged(signed_by=pending), 60)

        passed, refused = answers_meanwhile(deployment, take_up)
        assert set(passed) == {200}
        assert set(refused) == {401}
        if isinstance(deployment.gateway, Haproxy):
            assert "HAProxy has to be reloaded" in deployment.agent.process.stderr()


def backends_of(gateway: Haproxy) -> str:
    """What HAProxy says of its backends; nothing while it comes up."""
    try:
        runtime = Runtime(gateway.socket)
    except HaproxyUnavailable:
        return ""
    with closing(runtime):
        return runtime.ask("show backend")


def test_a_reload_by_its_agent_closes_nothing() -> None:
    """An operator who has changed HAProxy's configuration sends its agent a SIGHUP.

    What was saved is removed once it is too old to be gone by.
    """
    with with_entries("haproxy", max_staleness=10.0) as deployment:
        gateway = deployment.gateway
        assert isinstance(gateway, Haproxy)
        gateway.config.write_text(f"{gateway.config.read_text()}\nbackend another\n")
        state = gateway.directory / "state.map"

        def send() -> None:
            deployment.agent.process.signal(signal.SIGHUP)
            for _ in until(30, "the other backend"):
                if "another" in backends_of(gateway):
                    break
            assert state.read_text()

        passed, refused = answers_meanwhile(deployment, send)
        assert set(passed) == {200}
        assert set(refused) == {401}
        gateway.nothing_is_saved()


def test_other_settings_close_nothing() -> None:
    """An agent with other rules, or of another release, reloads HAProxy once it has a copy."""
    with with_entries("haproxy") as deployment:
        agent = deployment.agent.process

        def restart() -> None:
            agent.stop()
            agent.argv = [*agent.argv, "--leeway", "7"]
            deployment.agent.start()

        passed, refused = answers_meanwhile(deployment, restart)
        assert set(passed) == {200}
        assert set(refused) == {401}
        assert "started with other settings" in agent.stderr()


def test_a_reload_of_which_the_agent_does_not_know_closes() -> None:
    """Without what it saves HAProxy refuses all until it is filled, which the test above sees."""
    with with_entries("haproxy") as deployment:
        gateway = deployment.gateway
        assert isinstance(gateway, Haproxy)
        passed, refused = answers_meanwhile(deployment, lambda: reload(gateway.master_socket))
        assert set(passed) == {200, 503}
        assert set(refused) <= {401, 503}
