"""`/metrics`: who may fetch it, what it counts, and that it names nobody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from harness import stacks
from harness.certificates import make_certificates
from harness.issuer_app import (
    METRICS_TOKEN,
    PASSWORD,
    USERNAME,
    IssuerApp,
    basic,
    bearer,
    granted,
    refused,
)
from prometheus_client.parser import text_string_to_metric_families

from issuer.accounts import HashingBusy, PasswordHasher
from issuer.metrics import Metrics
from issuer.settings import SettingsError
from revocation import DenylistUnavailable


def metrics_of(issuer: IssuerApp) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample, by name and labels, as Prometheus reads them."""
    response = issuer.ask("GET", "/metrics", headers=bearer(METRICS_TOKEN))
    assert response.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def of(issuer: IssuerApp, name: str, **labels: str) -> float:
    """One sample, 0 where there is none yet."""
    return metrics_of(issuer).get((name, tuple(sorted(labels.items()))), 0.0)


@pytest.mark.parametrize("token", ["", "x", METRICS_TOKEN[:-1], METRICS_TOKEN + "x", "né"])
@stacks.anywhere
def test_another_token_is_refused(issuer: IssuerApp, token: str) -> None:
    """Only whoever has the token learns anything."""
    headers = {"Authorization": f"Bearer {token}"}
    refused(issuer.ask("GET", "/metrics", headers=headers), 401, "invalid_token")


@stacks.anywhere
def test_an_access_token_is_none(issuer: IssuerApp) -> None:
    """Nobody who has logged in may fetch metrics for that."""
    token = issuer.grant()["access_token"]
    refused(issuer.ask("GET", "/metrics", headers=bearer(token)), 401, "invalid_token")
    refused(issuer.ask("GET", "/metrics"), 401, "invalid_token")


@stacks.anywhere
def test_without_the_setting_nobody_may(make_issuer: Callable[..., IssuerApp]) -> None:
    """Denied by default."""
    issuer = make_issuer(metrics_token_sha256=None)
    for token in (METRICS_TOKEN, ""):
        headers = {"Authorization": f"Bearer {token}"}
        refused(issuer.ask("GET", "/metrics", headers=headers), 401, "invalid_token")


@pytest.mark.parametrize("digest", ["", "secret", "A" * 64, "a" * 63])
@stacks.anywhere
def test_a_digest_that_is_none_is_refused(
    make_issuer: Callable[..., IssuerApp], digest: str
) -> None:
    """The token itself, put there by mistake, is not taken for its digest."""
    with pytest.raises(SettingsError, match="metrics_token_sha256"):
        make_issuer(metrics_token_sha256=digest)


@stacks.anywhere
def test_logins_and_refreshes_are_counted_by_outcome(issuer: IssuerApp) -> None:
    """Each rule of rotation, and each reason for a refusal, has a count of its own."""
    token = issuer.grant()["refresh_token"]
    issuer.login(password="wrong wooden comets 5518")
    issuer.login(username="nobody")
    assert of(issuer, "gatepass_logins_total", outcome="granted") == 1
    assert of(issuer, "gatepass_logins_total", outcome="refused") == 2
    issuer.clock.advance(60)
    second = granted(issuer.refresh(token))["refresh_token"]
    granted(issuer.refresh(token))
    issuer.clock.advance(60)
    granted(issuer.refresh(second))
    issuer.clock.advance(60)
    issuer.refresh(token)
    issuer.refresh(token)
    issuer.refresh("nonsense")
    for outcome, count in (
        ("rotated", 2),
        ("resent", 1),
        ("reuse", 1),
        ("ended", 1),
        ("invalid", 1),
    ):
        assert of(issuer, "gatepass_refreshes_total", outcome=outcome) == count, outcome


@stacks.anywhere
def test_requests_are_counted_by_route(issuer: IssuerApp) -> None:
    """A path that nobody serves, and a method that nobody knows, make no label."""
    issuer.ask("GET", "/sessions/elsewhere")
    issuer.app.test_client().open("/made/up", method="BREW")
    name = "gatepass_http_request_duration_seconds_count"
    found = [dict(labels) for of, labels in metrics_of(issuer) if of == name]
    assert {"method": "none", "route": "none", "status": "404"} in found
    assert not [labels for labels in found if "BREW" in labels.values()]
    assert {labels["route"] for labels in found} <= {
        "none",
        *(rule.rule for rule in issuer.app.url_map.iter_rules()),
    }


@stacks.anywhere
def test_revocations_are_timed_and_counted(issuer: IssuerApp) -> None:
    """What the denylist holds is told by kind, its last position too, and how long a push took."""
    before = of(issuer, "gatepass_denylist_position")
    grant = issuer.grant()
    assert issuer.logout(grant["refresh_token"]).status_code == 200
    name = "gatepass_revocation_push_duration_seconds_count"
    assert of(issuer, name, reason="logout") == 1
    assert of(issuer, "gatepass_revocations_in_force", kind="session") == 1
    assert of(issuer, "gatepass_revocations_undone") == 0
    assert of(issuer, "gatepass_denylist_position") > before
    assert of(issuer, "gatepass_denylist_ready") == 1


@stacks.anywhere
def test_a_key_has_an_age(issuer: IssuerApp) -> None:
    """Since it came into its state; the clock of the issuer counts."""
    kid = issuer.services.signing_key().kid
    before = of(issuer, "gatepass_key_age_seconds", kid=kid, alg="ES256", state="active")
    issuer.clock.advance(90)
    now = of(issuer, "gatepass_key_age_seconds", kid=kid, alg="ES256", state="active")
    assert now - before == 90


@stacks.anywhere
def test_a_store_that_is_down_is_told(issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is still there: an outage is when metrics are looked at."""

    def down() -> None:
        raise DenylistUnavailable("down")

    monkeypatch.setattr(issuer.services.denylist, "state", down)
    assert of(issuer, "gatepass_store_up", store="denylist") == 0
    assert of(issuer, "gatepass_store_up", store="database") == 1
    assert not [name for name, _ in metrics_of(issuer) if name == "gatepass_denylist_ready"]


@stacks.anywhere
def test_gateways_that_follow_are_counted(issuer: IssuerApp) -> None:
    """By the name in the settings, while the stream lasts; nobody else makes a label."""
    position = issuer.services.denylist.state().position
    cursor = f"{position.epoch}.{position.seq}.{position.chain}"
    client = issuer.app.test_client()
    url = f"/revocations/events?after={cursor}"
    stream = client.get(url, headers=basic("edge"), buffered=False)
    assert stream.status_code == 200
    assert of(issuer, "gatepass_feed_streams", gateway="edge") == 1
    stream.close()
    assert of(issuer, "gatepass_feed_streams", gateway="edge") == 0
    assert client.get("/revocations", headers=basic("edge")).status_code == 200
    assert client.get("/revocations", headers=basic("made-up")).status_code == 401
    assert of(issuer, "gatepass_feed_snapshots_total", gateway="edge") == 1
    assert not [labels for _, labels in metrics_of(issuer) if ("gateway", "made-up") in labels]


@stacks.on_redis
def test_the_denylists_server_is_told_of(issuer: IssuerApp) -> None:
    """Its memory, the bound of it, and its read replicas."""
    assert of(issuer, "gatepass_redis_memory_bytes") > 100_000
    assert of(issuer, "gatepass_redis_memory_limit_bytes") == 0
    assert of(issuer, "gatepass_redis_replicas") == 0


@stacks.anywhere
def test_a_certificates_end_is_told(make_issuer: Callable[..., IssuerApp], tmp_path: Path) -> None:
    """Of the file that is served, so that a renewal shows at once."""
    made = make_certificates(tmp_path)
    name = "gatepass_tls_certificate_expires_timestamp_seconds"
    issuer = make_issuer(tls_certificate=made.certificate, tls_key=made.key)
    assert of(issuer, name) == datetime(2099, 1, 1, tzinfo=UTC).timestamp()
    made.certificate.write_text("half of it")
    assert name not in {found for found, _ in metrics_of(issuer)}


@stacks.anywhere
def test_nothing_names_anybody(issuer: IssuerApp) -> None:
    """No user, session, token, address or password is in what Prometheus keeps for months."""
    grant = issuer.grant()
    issuer.refresh(grant["refresh_token"])
    issuer.ask("DELETE", f"/sessions/{grant['session']['sid']}")
    text = issuer.ask("GET", "/metrics", headers=bearer(METRICS_TOKEN)).text
    for secret in (
        USERNAME,
        PASSWORD,
        METRICS_TOKEN,
        issuer.account.id,
        grant["session"]["sid"],
        grant["access_token"],
        grant["refresh_token"],
        "127.0.0.1",
    ):
        assert secret not in text


def test_who_waits_to_be_hashed_is_seen() -> None:
    """The queue is as long as it is, and whoever finds no room in it is counted."""
    metrics = Metrics()
    hasher = PasswordHasher(
        time_cost=1,
        memory_cost=8,
        parallelism=1,
        concurrency=1,
        waiting=0,
        watch=metrics.hashing,
    )

    def sample(name: str) -> float | None:
        return metrics._registry.get_sample_value(name)

    with hasher.turn():
        assert sample("gatepass_password_hashing_queue") == 1
        with pytest.raises(HashingBusy):
            hasher.hash("somebody else's")
    assert sample("gatepass_password_hashing_queue") == 0
    assert sample("gatepass_password_hashing_turned_away_total") == 1
    assert sample("gatepass_password_hashing_duration_seconds_count") == 1
    assert sample("gatepass_password_hashing_wait_seconds_count") == 1
