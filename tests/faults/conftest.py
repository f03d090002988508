"""Issuers on stores that a test may break; each module has servers of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.gatepass_command import Gatepass


@pytest.fixture(scope="session")
def gatepass() -> Iterator[Gatepass]:
    """Runs `gatepass` commands quickly."""
    with Gatepass() as command:
        yield command
