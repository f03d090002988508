"""The release before this one, unpacked once."""

from __future__ import annotations

import pytest
from harness.older_release import OlderRelease


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> OlderRelease:
    """Its code, in a directory of its own."""
    return OlderRelease.unpack(tmp_path_factory.mktemp("released"))
