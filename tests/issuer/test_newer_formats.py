"""What a newer issuer has written meets this one: never an error of ours, never a wrong answer."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from harness import stacks
from harness.issuer_app import IssuerApp, granted, refused
from harness.redis_server import RedisServer

from issuer.families.redis_families import FORMAT
from tokens import RefreshClaims
from tokens.claims import REFRESH_FORMAT


def set_format(client: redis.Redis, version: int) -> None:
    """Mark the one session's record."""
    (key,) = client.keys("*:family:*")
    client.hset(key, "v", version)


@stacks.on_redis
def test_a_session_of_a_later_format_waits_for_a_newer_issuer(
    issuer: IssuerApp, redis_server: RedisServer
) -> None:
    """503 with Retry-After, not a refusal for good; the session goes on where it is known."""
    client = redis_server.client()
    grant = issuer.grant()
    set_format(client, FORMAT + 1)
    for answer in (
        issuer.refresh(grant["refresh_token"]),
        issuer.introspect(grant["refresh_token"]),
        issuer.sessions(grant["access_token"]),
    ):
        refused(answer, 503, "temporarily_unavailable")
        assert answer.headers["Retry-After"] == "1"
    set_format(client, FORMAT)
    granted(issuer.refresh(grant["refresh_token"]))


@stacks.on_redis
def test_a_session_of_a_later_format_can_be_ended(
    issuer: IssuerApp, redis_server: RedisServer
) -> None:
    """The end is in the journal and on the denylist, whoever may write the record."""
    client = redis_server.client()
    grant = issuer.grant()
    set_format(client, FORMAT + 1)
    granted(issuer.logout(grant["refresh_token"]))
    assert issuer.undone() == []
    assert granted(issuer.introspect(grant["access_token"])) == {"active": False}
    set_format(client, FORMAT)
    refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")


@stacks.anywhere
def test_a_refresh_token_of_a_later_format_is_no_token(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused as any other that cannot be read, and the session goes on."""
    grant = issuer.grant()
    claims = issuer.opened(grant["refresh_token"])
    payload: dict[str, Any] = {**claims.to_payload(), "v": REFRESH_FORMAT + 1}
    with monkeypatch.context() as patched:
        patched.setattr(RefreshClaims, "to_payload", lambda _: payload)
        token = issuer.services.sealer.mint(claims)
    refused(issuer.refresh(token), 400, "invalid_grant")
    assert granted(issuer.introspect(token)) == {"active": False}
    granted(issuer.refresh(grant["refresh_token"]))
