"""Asking a gateway for its metrics, whatever answers at its address."""

from __future__ import annotations

import pytest
from harness.metrics_server import TOKEN, MetricsServer

from issuer.console import gateway_metrics
from issuer.console.gateway_metrics import fetch_reading
from issuer.console.settings import WatchedGateway
from issuer.replica_reading import NotReached


def test_what_does_not_answer_as_it_should_is_not_reached(server: MetricsServer) -> None:
    """No token, a redirect, a flood of bytes, a closed port: one kind of error, and no more."""
    watched = WatchedGateway(url=server.url, token=TOKEN)
    with pytest.raises(NotReached, match="401"):
        fetch_reading(WatchedGateway(url=server.url))
    server.status, server.headers = 302, {"Location": f"{server.url}/elsewhere"}
    with pytest.raises(NotReached, match="302"):
        fetch_reading(watched)
    assert server.asked == ["/metrics", "/metrics"]
    server.status, server.body = 200, b"x" * (gateway_metrics.MAX_METRICS + 1)
    with pytest.raises(NotReached):
        fetch_reading(watched)
    with pytest.raises(NotReached, match="does not answer"):
        fetch_reading(WatchedGateway(url="http://127.0.0.1:1/metrics"))


def test_what_only_trickles_is_not_waited_for(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is for the whole answer, and not for each part of it."""
    monkeypatch.setattr(gateway_metrics, "FETCH_TIMEOUT", 0.2)
    server.body, server.trickle = b"#" * 40, 0.05
    with pytest.raises(NotReached, match="in time"):
        fetch_reading(WatchedGateway(url=server.url, token=TOKEN))
