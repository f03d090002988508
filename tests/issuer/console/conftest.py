"""An issuer with the console turned on, and a browser in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from harness.console_client import ConsoleClient
from harness.issuer_app import IssuerApp
from harness.metrics_server import MetricsServer


@pytest.fixture
def issuer(make_issuer: Callable[..., IssuerApp]) -> IssuerApp:
    """Whose person `USERNAME` is an administrator."""
    return make_issuer(console={"enabled": True})


@pytest.fixture
def browser(issuer: IssuerApp) -> ConsoleClient:
    """Nobody is signed in there yet."""
    return ConsoleClient(issuer)


@pytest.fixture
def console(browser: ConsoleClient) -> ConsoleClient:
    """An administrator is signed in."""
    return browser.signed_in()


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    """On a free port."""
    running = MetricsServer()
    yield running
    running.close()
