"""A demo for the conformance pack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance.target import Target
from harness.conformance_target import running_target


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    """One demo; every check makes sessions of its own and leaves the account as it was."""
    with running_target() as running:
        yield running
