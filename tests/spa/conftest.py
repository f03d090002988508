"""A demo and a Chromium for each module; a person and a browser profile for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from harness.browser import BrowserWorld, Visitor
from harness.processes import short_directory
from playwright.sync_api import expect

# On a machine that stands still now and then; what is there sooner is not waited for.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[BrowserWorld]:
    """What a module's tests share; each has people, profiles and tabs of its own.

    `GATED` in the module: everything is behind Caddy.
    """
    directory = short_directory("gp-web-")
    gated = getattr(request.module, "GATED", False)
    with BrowserWorld(directory, gated=gated) as running:
        yield running
    shutil.rmtree(directory)


@pytest.fixture
def ann(world: BrowserWorld) -> Iterator[Visitor]:
    """A new person at a browser that nobody has used, at the present time."""
    yield world.visitor()
    world.forget()
