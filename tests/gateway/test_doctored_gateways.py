"""`gatepass doctor`: whether each gateway's copy of the denylist is in step."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from harness.doctored import found, stand_in, states
from harness.forward_auth import ForwardAuthService
from harness.issuer_app import issuer_settings
from harness.processes import until
from harness.redis_server import RedisServer
from harness.token_source import TokenSource
from harness.web import ask
from pydantic import SecretStr

from issuer.console.settings import ConsoleSettings, WatchedGateway
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
        watched = watching(settings, service=service.url, lost=lost.url, closed=closed.url)
        assert states(Deployment(settings=watched), "replicas") == {
            "gateway:service": "ok",
            "gateway:lost": "fail",
            "gateway:closed": "ok",
        }
        # What is named twice is looked at once, with the token that is known for it.
        both = Deployment(settings=watched, gateways=(f"{closed.url}/",))
        assert set(states(both, "replicas").items()) == {
            ("gateway:service", "ok"),
            ("gateway:lost", "fail"),
            (f"gateway:{closed.url}", "ok"),
        }


def watching(settings: Settings, **urls: str) -> Settings:
    """Settings whose console watches these gateways."""
    gateways = {
        name: WatchedGateway(url=f"{url}/metrics", token=SecretStr(TOKEN))
        for name, url in urls.items()
    }
    return settings.model_copy(update={"console": ConsoleSettings(gateways=gateways)})


def test_a_gateway_whose_copy_is_too_old(
    settings: Settings, source_redis: RedisServer, source: TokenSource
) -> None:
    """It has the keys, and had a copy; it fails by its readiness as by its metrics alone."""
    with ForwardAuthService(source.url, source.denylist_url, "--max-staleness", "2") as soon_stale:
        url = soon_stale.wait_ready().url
        source_redis.pause()
        try:
            for _ in until(20, "the end of the bound"):
                if ask("GET", f"{url}/readyz").status == 503:
                    break
            asked = Deployment(settings=settings, gateways=(url,))
            watched = Deployment(settings=watching(settings, edge=url))
            by_name = found(asked, "replicas")[f"gateway:{url}"]
            by_settings = found(watched, "replicas")["gateway:edge"]
        finally:
            source_redis.resume()
        for _ in until(20, "a copy in step"):
            if states(watched, "replicas") == {"gateway:edge": "ok"}:
                break
    assert str(by_name.state) == str(by_settings.state) == "fail"
    assert "keys ready, replica not ready" in by_name.what
    assert by_settings.what.startswith("not in step: its copy is ")


def test_metrics_of_no_replica_are_unknown(settings: Settings) -> None:
    """Whatever answers there is no gateway's `/metrics`."""
    with stand_in() as url:
        deployment = Deployment(settings=watching(settings, edge=url))
        assert states(deployment, "replicas") == {"gateway:edge": "unknown"}
