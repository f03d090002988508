"""The commands, each on both of its sources of settings, beside one running demo."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.gatepass_command import Gatepass
from harness.processes import short_directory
from harness.running_demo import SOURCES, Person, Run, RunningDemo, runner
from harness.warm_process import warm


@pytest.fixture(scope="session")
def gatepass() -> Gatepass:
    """Runs `gatepass` commands quickly."""
    return warm()


@pytest.fixture(scope="session")
def demo() -> Iterator[RunningDemo]:
    """A running demo whose client and keys every test leaves as they are."""
    directory = short_directory("gp-cli-demo-")
    with RunningDemo(directory / "state") as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture
def own_demo() -> Iterator[RunningDemo]:
    """A running demo of the test's own."""
    directory = short_directory("gp-cli-demo-")
    with RunningDemo(directory / "state") as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture(params=SOURCES)
def run(request: pytest.FixtureRequest, gatepass: Gatepass, demo: RunningDemo) -> Run:
    """Runs a command on the shared demo, told of it in either way."""
    return runner(gatepass, demo.state_dir, request.param)


@pytest.fixture
def run_on(gatepass: Gatepass) -> Callable[[RunningDemo], Run]:
    """Runs commands on a demo that is named."""
    return lambda demo: runner(gatepass, demo.state_dir, "state-dir")


@pytest.fixture
def person(run: Run) -> Person:
    """An account that a command has made."""
    name = f"person-{secrets.token_hex(6)}"
    added: Any = run("users", "add", name, "--generate", "--json").done().json
    return Person(name, added["password"], added["sub"])
