"""Gateways beside real issuers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness.bound import Bound, MakeBound
from harness.gatepass_command import Gatepass
from harness.issuer_process import IssuerFleet


@pytest.fixture(scope="session")
def gatepass() -> Iterator[Gatepass]:
    """Runs `gatepass` commands quickly."""
    with Gatepass() as command:
        yield command


@pytest.fixture
def make_bound(tmp_path: Path) -> Iterator[MakeBound]:
    """Makes an issuer on the Redis at an address."""
    with ExitStack() as stack:

        def make(redis_url: str) -> Bound:
            fleet = IssuerFleet(
                f"sqlite:///{tmp_path}/issuer.db",
                redis_url,
                tmp_path / "fleet",
                size=1,
                settings={"GATEPASS_WORKERS": "1"},
            )
            return Bound(stack.enter_context(fleet), tmp_path)

        yield make
