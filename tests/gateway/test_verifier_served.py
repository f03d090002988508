"""A gateway beside a served issuer: keys found by discovery, revocations through the real feed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from harness.issuer_app import NEW_PASSWORD, PASSWORD, USERNAME, claims_of, migrated_sqlite
from harness.processes import short_directory, until
from harness.redis_server import RedisServer
from harness.served_issuer import ServedIssuer
from joserfc.jwk import ECKey

from gateway import Verifier
from gateway.example_api import example_api
from revocation import DenylistUnavailable, ReplicaStale, StalePolicy, TokenRevoked
from tokens import AccessClaims, Malformed, Recipient, WrongAudience

MAX_STALENESS = 8.0
"""Seconds; more than a busy machine stands still for."""
PRIVATE_JWK = ECKey.generate_key("P-256", {"kid": "sealed-api-1"}).as_dict(private=True)
PUBLIC_JWK = {name: value for name, value in PRIVATE_JWK.items() if name != "d"}


@dataclass(frozen=True)
class Deployment:
    """An issuer, its Redis, and gateways of both audiences."""

    issuer: ServedIssuer
    redis: RedisServer
    gateway: Verifier
    sealed_gateway: Verifier

    def token(self, client_id: str = "demo") -> tuple[str, str]:
        """An access and a refresh token of a new login."""
        granted = self.issuer.site.login(USERNAME, PASSWORD, client_id=client_id).granted()
        return granted["access_token"], granted["refresh_token"]


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """All of it, running and in step."""
    directory = short_directory("gp-gateway-")
    with RedisServer() as redis:
        issuer = ServedIssuer(
            directory,
            f"sqlite:///{migrated_sqlite(directory / 'issuer.db')}",
            redis.unix_url,
            clients={"demo": {"audience": "api"}, "vault": {"audience": "sealed-api"}},
            audiences={"sealed-api": {"encryption_jwk": PUBLIC_JWK}},
            workers=1,
        )
        issuer.add_account()
        recipients = {"sealed-api-1": Recipient.from_jwk(PRIVATE_JWK)}
        with (
            issuer,
            verifier(issuer, "api") as gateway,
            verifier(issuer, "sealed-api", recipients=recipients) as sealed_gateway,
        ):
            assert gateway.replica.wait_in_step(30)
            assert sealed_gateway.replica.wait_in_step(30)
            yield Deployment(issuer, redis, gateway, sealed_gateway)
    shutil.rmtree(directory)


def verifier(issuer: ServedIssuer, audience: str, **options: Any) -> Verifier:
    """A gateway's verifier, which knows of the issuer its URL and its denylist only."""
    return Verifier(
        issuer=issuer.url,
        audience=audience,
        denylist=issuer.settings["redis_url"],
        heartbeat_interval=issuer.settings["heartbeat_interval"],
        max_staleness=MAX_STALENESS,
        **options,
    )


def wait_for(expected: type[Exception], verify: Callable[[], AccessClaims]) -> None:
    """Verify until it raises this, within a time that is generous for a loaded machine."""
    for _ in until(30, expected.__name__):
        try:
            verify()
        except expected:
            return
        except ReplicaStale:
            continue


def call(gateway: Verifier, token: str) -> tuple[str, dict[str, str], dict[str, Any]]:
    """One request to the example API behind a gateway: status, headers and body."""
    seen: list[Any] = []
    environ = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
    answered = example_api(gateway)(environ, lambda *started: seen.extend(started))
    body = b"".join(answered)
    return seen[0], dict(seen[1]), json.loads(body)


def test_tokens_of_each_client_pass_at_their_audience_alone(deployment: Deployment) -> None:
    """Keys are found by the issuer's metadata; a token for another API is refused."""
    token, _ = deployment.token()
    claims = deployment.gateway.verify(token)
    assert claims.iss == deployment.issuer.url
    assert (claims.client_id, claims.aud) == ("demo", ("api",))
    with pytest.raises(WrongAudience):
        deployment.sealed_gateway.verify(token)
    status, _, body = call(deployment.gateway, token)
    assert (status, body["sub"], body["sid"]) == ("200 OK", claims.sub, claims.sid)
    assert body["replica_staleness"] <= MAX_STALENESS


def test_a_sealed_token_is_for_its_audience_alone(deployment: Deployment) -> None:
    """The registered audience opens and verifies it; nobody else reads so much as a claim."""
    token, _ = deployment.token("vault")
    assert deployment.sealed_gateway.verify(token).aud == ("sealed-api",)
    with pytest.raises(Malformed):
        deployment.gateway.verify(token)
    with pytest.raises(Malformed, match="not JSON"):
        claims_of(token)


@pytest.mark.parametrize("client_id", ["demo", "vault"])
def test_logout_is_seen(deployment: Deployment, client_id: str) -> None:
    """After a logout the gateway refuses the session's tokens, signed or sealed."""
    gateway = deployment.gateway if client_id == "demo" else deployment.sealed_gateway
    token, refresh_token = deployment.token(client_id)
    other, _ = deployment.token(client_id)
    gateway.verify(token)
    deployment.issuer.site.post("/logout", {"refresh_token": refresh_token}).granted()
    wait_for(TokenRevoked, lambda: gateway.verify(token))
    assert gateway.verify(other)
    status, headers, body = call(gateway, token)
    assert status == "401 Unauthorized"
    assert headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
    assert body["error"] == "invalid_token"


def test_one_token_is_revoked(deployment: Deployment) -> None:
    """RFC 7009 at the issuer refuses that token at the gateway; its session goes on."""
    token, refresh_token = deployment.token()
    deployment.issuer.site.post("/revoke", form={"token": token}).granted()
    wait_for(TokenRevoked, lambda: deployment.gateway.verify(token))
    refreshed = deployment.issuer.site.refresh(refresh_token).granted()
    assert deployment.gateway.verify(refreshed["access_token"])


def test_password_change_is_seen(deployment: Deployment) -> None:
    """Every older token of the person is refused at each gateway, and the new one passes."""
    site = deployment.issuer.site
    token, _ = deployment.token()
    sealed, _ = deployment.token("vault")
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD, "transport": "body"}
    changed = site.post("/password", change, token=token).granted()
    wait_for(TokenRevoked, lambda: deployment.gateway.verify(token))
    wait_for(TokenRevoked, lambda: deployment.sealed_gateway.verify(sealed))
    assert deployment.gateway.verify(changed["access_token"])
    back = {"current_password": NEW_PASSWORD, "new_password": PASSWORD, "transport": "body"}
    site.post("/password", back, token=changed["access_token"]).granted()


def test_silent_redis_makes_the_copy_old(deployment: Deployment) -> None:
    """With Redis frozen the gateway refuses with 503, asks in vain, or goes by its copy.

    Once Redis answers again it recovers by itself.
    """
    gateway = deployment.gateway
    token, _ = deployment.token()
    gateway.verify(token)
    deployment.redis.pause()
    try:
        wait_for_stale(gateway, token)
        status, headers, body = call(gateway, token)
        assert status == "503 Service Unavailable"
        assert headers["Retry-After"] == "1"
        assert "WWW-Authenticate" not in headers
        assert body["error"] == "temporarily_unavailable"
        assert gateway.verify(token, StalePolicy.OPEN)
        with pytest.raises(DenylistUnavailable):
            gateway.verify(token, StalePolicy.ASK)
    finally:
        deployment.redis.resume()
    wait_for_step(gateway, token)
    # The next test may ask this one.
    assert deployment.sealed_gateway.replica.wait_in_step(30)


def wait_for_stale(gateway: Verifier, token: str) -> None:
    """Until the gateway's copy is too old to be vouched for."""
    for _ in until(60, "an old copy"):
        try:
            gateway.verify(token)
        except ReplicaStale:
            return


def wait_for_step(gateway: Verifier, token: str) -> None:
    """Until the gateway takes a good token again."""
    for _ in until(30, "a copy in step"):
        try:
            gateway.verify(token)
        except ReplicaStale:
            continue
        return


def test_silent_issuer_makes_the_copy_old(deployment: Deployment) -> None:
    """Without an issuer nobody beats: closed refuses, ask still knows, and keys stay cached.

    What a restarted issuer acknowledges is seen again.
    """
    gateway = deployment.gateway
    token, refresh_token = deployment.token()
    gateway.verify(token)
    assert deployment.issuer.process.stop(timeout=30) == 0
    try:
        wait_for_stale(gateway, token)
        assert gateway.verify(token, StalePolicy.ASK)
    finally:
        deployment.issuer.start()
    wait_for_step(gateway, token)
    assert deployment.sealed_gateway.replica.wait_in_step(30)
    deployment.issuer.site.post("/logout", {"refresh_token": refresh_token}).granted()
    wait_for(TokenRevoked, lambda: gateway.verify(token))
