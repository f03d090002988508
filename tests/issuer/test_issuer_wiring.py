"""What holds an issuer together: signing keys, proxies, errors that nobody foresaw."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import stacks
from harness.issuer_app import (
    NEW_PASSWORD,
    IssuerApp,
    claims_of,
    default_clients,
    granted,
    redis_dump,
    refused,
)
from harness.issuer_app import restore_redis as restore
from structlog.testing import capture_logs

from issuer.families import Status
from tokens.compact import parse_header


def algorithm(token: str) -> str:
    """The algorithm that a token is signed with."""
    alg: str = parse_header(token.split(".", maxsplit=1)[0].encode())["alg"]
    return alg


@stacks.anywhere
def test_a_new_algorithm_signs_once_it_has_been_published(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """Until then the next one in the list does; tokens of both are good."""
    old = make_issuer().grant()
    issuer = make_issuer(algorithms=["EdDSA", "ES256"])
    assert algorithm(issuer.grant()["access_token"]) == "ES256"
    assert len(granted(issuer.ask("GET", "/.well-known/jwks.json"))["keys"]) == 2
    issuer.clock.advance(400)
    issuer.services.keys.tick()
    issuer.services.keys.tick()
    grant = issuer.grant()
    assert algorithm(grant["access_token"]) == "EdDSA"
    assert granted(issuer.sessions(grant["access_token"]))
    assert granted(issuer.refresh(old["refresh_token"]))


@stacks.anywhere
def test_an_algorithm_is_replaced_without_a_gap(make_issuer: Callable[..., IssuerApp]) -> None:
    """The old algorithm signs until the new one's key has been published for long enough."""
    make_issuer()
    issuer = make_issuer(algorithms=["EdDSA"])
    assert algorithm(issuer.grant()["access_token"]) == "ES256"
    issuer.clock.advance(400)
    issuer.services.keys.tick()
    assert algorithm(issuer.grant()["access_token"]) == "EdDSA"


@stacks.anywhere
@pytest.mark.parametrize("name", ["ES256", "EdDSA", "PS256", "RS256"])
def test_each_algorithm_serves_alone(make_issuer: Callable[..., IssuerApp], name: str) -> None:
    """An issuer of one algorithm signs, verifies and publishes with it."""
    issuer = make_issuer(algorithms=[name])
    token = issuer.grant()["access_token"]
    assert algorithm(token) == name
    assert granted(issuer.sessions(token))
    (key,) = granted(issuer.ask("GET", "/.well-known/jwks.json"))["keys"]
    assert key["alg"] == name


@stacks.anywhere
def test_an_issuer_whose_ring_is_stale_is_not_ready(issuer: IssuerApp) -> None:
    """By then another issuer may have retired the key that this one would sign with."""
    handover = issuer.services.settings.rotation_policy().handover
    issuer.clock.advance(handover)
    assert issuer.ask("GET", "/readyz").status_code == 200
    issuer.clock.advance(1)
    answer = issuer.ask("GET", "/readyz")
    assert answer.status_code == 503
    assert answer.get_json()["checks"]["keys"] == "failing"


@stacks.anywhere
@pytest.mark.parametrize(
    ("hops", "forwarded", "seen"),
    [
        (0, "203.0.113.7", "127.0.0.1"),
        (1, "203.0.113.7", "203.0.113.7"),
        (1, "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (2, "198.51.100.1, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        (1, "", "127.0.0.1"),
    ],
)
def test_only_the_deployment_s_own_proxies_are_believed(
    make_issuer: Callable[..., IssuerApp], hops: int, forwarded: str, seen: str
) -> None:
    """A session's address is what the innermost trusted proxy saw, whatever a client claims."""
    issuer = make_issuer(trusted_proxies=hops)
    token = issuer.grant(headers={"X-Forwarded-For": forwarded})["access_token"]
    (session,) = granted(issuer.sessions(token))["sessions"]
    assert session["address"] == seen


@stacks.anywhere
def test_an_error_that_nobody_foresaw_tells_nothing(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 in OAuth form; answer and log name no more than the error's type."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret 4711")

    monkeypatch.setattr(issuer.services.accounts, "by_username", broken)
    with capture_logs() as lines:
        body = {"username": "x", "password": "y", "transport": "body"}
        answer = issuer.app.test_client().post("/login", json=body)
    assert answer.status_code == 500
    assert answer.get_json()["error"] == "server_error"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "4711" not in answer.text
    (line,) = lines
    assert (line["event"], line["error"]) == ("unexpected_error", "RuntimeError")
    assert "4711" not in repr(line)


@stacks.on_redis
def test_a_family_from_the_past_ends(issuer: IssuerApp) -> None:
    """A token newer than the store remembers ends the session, and is not called reuse."""
    grant = issuer.grant()
    past = redis_dump(issuer.services)
    issuer.clock.advance(20)
    newer = granted(issuer.refresh(grant["refresh_token"]))
    restore(issuer.services, past)
    text = refused(issuer.refresh(newer["refresh_token"]), 400, "invalid_grant")
    assert "was lost" in text
    refused(issuer.sessions(newer["access_token"]), 401, "invalid_token")
    (row,) = issuer.rows("journal")
    assert (row["reason"], row["done"]) == ("rollback", True)
    claims = issuer.opened(newer["refresh_token"])
    family = issuer.services.families.get(claims.sub, claims.sid)
    assert family is not None
    assert family.status is Status.ENDED


def test_issuers_on_the_same_stores_know_each_other_s_sessions(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """Whatever one issuer grants or revokes, the other one honours at once."""
    one, two = make_issuer(), make_issuer()
    grant = one.grant()
    assert granted(two.sessions(grant["access_token"]))
    renewed = granted(two.refresh(grant["refresh_token"]))
    granted(two.change_password(renewed["access_token"]))
    refused(one.sessions(grant["access_token"]), 401, "invalid_token")
    refused(one.refresh(renewed["refresh_token"]), 400, "invalid_grant")
    fresh = one.grant(password=NEW_PASSWORD)
    assert claims_of(fresh["access_token"])["sub_ver"] == 2


@stacks.anywhere
@pytest.mark.parametrize("how", ["logout", "refresh", "introspect"])
def test_a_key_that_another_issuer_made_is_read_for_a_refresh_token(
    make_issuer: Callable[..., IssuerApp], how: str
) -> None:
    """One under a sealing key that this issuer has not read yet is opened: nobody is signed out."""
    client = {"audience": "api", "idle": 0, "absolute": 7200}
    clients = {"demo": client, "rs": default_clients()["rs"]}
    changes = {"clients": clients, "sealing_period": 400}
    one, two = make_issuer(**changes), make_issuer(**changes)
    for issuer in (one, two):
        issuer.clock.advance_to(max(one.clock(), two.clock()))
    for _ in range(100):
        one.clock.advance(12)
        one.services.keys.tick()
    two.clock.advance_to(one.clock())
    token = one.grant()["refresh_token"]
    assert one.services.keys.ring.sealing().kid != two.services.keys.ring.sealing().kid
    if how == "refresh":
        granted(two.refresh(token))
    elif how == "introspect":
        assert granted(two.introspect(token))["active"]
    else:
        assert granted(two.logout(token)) == {"logged_out": True}
        refused(one.refresh(token), 400, "invalid_grant")
