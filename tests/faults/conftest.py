"""Issuers on stores that a test may break; each module has servers of its own."""

from __future__ import annotations

import pytest
from harness.gatepass_command import Gatepass
from harness.warm_process import warm


@pytest.fixture(scope="session")
def gatepass() -> Gatepass:
    """Runs `gatepass` commands quickly."""
    return warm()
