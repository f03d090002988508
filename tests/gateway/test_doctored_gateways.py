"""`gatepass doctor --gateway`: whether each gateway's copy of the denylist is in step."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from harness.doctored import found, states
from harness.forward_auth import ForwardAuthService
from harness.issuer_app import issuer_settings
from harness.token_source import TokenSource

from issuer.doctor import Deployment
from issuer.settings import Settings

TOKEN = "what-the-doctor-shows-17d0"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Nothing of it is looked at here."""
    return issuer_settings(f"sqlite:///{tmp_path}/none.db", "memory://none", tmp_path)


def test_a_gateway_in_step_and_others(
    settings: Settings, service: ForwardAuthService, source: TokenSource
) -> None:
    """One that is ready tells its staleness; one that is away or lacks something has failed."""
    options = ["--metrics-token-sha256", hashlib.sha256(TOKEN.encode()).hexdigest()]
    with (
        ForwardAuthService("http://127.0.0.1:1", source.denylist_url) as lost,
        ForwardAuthService(source.url, source.denylist_url, *options) as closed,
    ):
        closed.wait_ready()
        urls = (service.url, lost.url, closed.url, "http://127.0.0.1:1")
        told = found(Deployment(settings=settings, gateways=urls), "replicas")
        assert [str(told[f"gateway:{url}"].state) for url in urls] == [
            "ok",
            "fail",
            "unknown",
            "fail",
        ]
        assert "s old at the most" in told[f"gateway:{service.url}"].what
        assert "keys not ready" in told[f"gateway:{lost.url}"].what
        known = Deployment(settings=settings, gateways=(closed.url,), metrics_token=TOKEN)
        assert states(known, "replicas") == {f"gateway:{closed.url}": "ok"}
