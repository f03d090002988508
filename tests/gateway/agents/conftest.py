"""Gateways that check tokens themselves, one of each kind for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.fed_haproxy import SALT, FedHaproxy, fed_haproxy
from harness.native_deployment import Deployment, deployed
from harness.native_gateways import GATEWAYS

from revocation.follower import suspension_aware_clock


@pytest.fixture(scope="module", params=sorted(GATEWAYS))
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """A gateway of each kind with all that belongs to it, running and in step."""
    with deployed(request.param) as running:
        yield running


@pytest.fixture(scope="module")
def prepared() -> Iterator[FedHaproxy]:
    """HAProxy, running; its maps are whatever the last test left."""
    with fed_haproxy() as running:
        yield running


@pytest.fixture
def setting(prepared: FedHaproxy) -> Iterator[FedHaproxy]:
    """HAProxy just started, and a sink that has a first snapshot, empty."""
    prepared.files.forget_copy()
    prepared.restart()
    sink = prepared.new_sink()
    sink.tend()
    sink.begin(SALT)
    sink.vouch(suspension_aware_clock())
    yield prepared
    prepared.sink.close()
