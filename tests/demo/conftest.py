"""Demos on state directories of the tests' own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.gatepass_command import Gatepass
from harness.processes import short_directory
from harness.running_demo import RunningDemo
from harness.warm_process import warm


@pytest.fixture(scope="module")
def demo() -> Iterator[RunningDemo]:
    """A running demo that a module's tests share and leave running."""
    directory = short_directory("gp-demo-")
    with RunningDemo(directory / "state") as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """Where a demo of the test's own may keep its state; it does not exist yet."""
    directory = short_directory("gp-demo-")
    yield directory / "state"
    shutil.rmtree(directory)


@pytest.fixture
def make_demo(state_dir: Path) -> Iterator[Callable[..., RunningDemo]]:
    """Makes demos on the test's own state directory, to be started by the test."""
    made: list[RunningDemo] = []

    def make(*options: str, directory: Path = state_dir, **more: Any) -> RunningDemo:
        made.append(RunningDemo(directory, *options, **more))
        return made[-1]

    yield make
    for demo in reversed(made):
        demo.close()


@pytest.fixture(scope="session")
def gatepass() -> Gatepass:
    """Runs `gatepass` commands quickly."""
    return warm()
