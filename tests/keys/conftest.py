"""A directory with a ring in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.key_directory import SECRET, rotating

from keys import DirectoryStore


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def store(directory: Path) -> DirectoryStore:
    store = DirectoryStore(directory, SECRET)
    store.update(rotating())
    return store
