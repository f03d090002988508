"""Gateways beside real issuers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.gatepass_command import Gatepass


@pytest.fixture(scope="session")
def gatepass() -> Iterator[Gatepass]:
    """Runs `gatepass` commands quickly."""
    with Gatepass() as command:
        yield command
