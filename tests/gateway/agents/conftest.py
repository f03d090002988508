"""Gateways that check tokens themselves, one of each kind for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.native_deployment import Deployment, deployed
from harness.native_gateways import GATEWAYS


@pytest.fixture(scope="module", params=sorted(GATEWAYS))
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """A gateway of each kind with all that belongs to it, running and in step."""
    with deployed(request.param) as running:
        yield running
