"""POST /introspect (RFC 7662)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import stacks
from harness.issuer_app import (
    IssuerApp,
    basic,
    bearer,
    claims_of,
    default_clients,
    granted,
    refused,
)

INACTIVE = {"active": False}


def test_an_active_access_token_is_described(issuer: IssuerApp) -> None:
    """The answer has `active`, the type, and every claim."""
    token = issuer.grant()["access_token"]
    found = granted(issuer.introspect(token))
    assert found == {"active": True, "token_type": "Bearer", **claims_of(token)}


def test_an_active_refresh_token_is_described(issuer: IssuerApp) -> None:
    """A refresh token's `exp` is when its session ends as things stand."""
    grant = issuer.grant()
    assert granted(issuer.introspect(grant["refresh_token"])) == {
        "active": True,
        "token_type": "refresh_token",
        "iss": claims_of(grant["access_token"])["iss"],
        "sub": issuer.account.id,
        "sid": grant["session"]["sid"],
        "client_id": "demo",
        "scope": "read write",
        "exp": int(issuer.clock()) + 1800,
    }


def test_a_spent_refresh_token_is_inactive(issuer: IssuerApp) -> None:
    """Only the current generation is active."""
    old = issuer.grant()["refresh_token"]
    issuer.clock.advance(10)
    new = granted(issuer.refresh(old))["refresh_token"]
    assert granted(issuer.introspect(old)) == INACTIVE
    assert granted(issuer.introspect(new))["active"]


@stacks.everywhere
@pytest.mark.parametrize("end", ["logout", "revoke", "password", "disabled", "client", "idle"])
def test_whatever_has_ended_is_inactive_without_a_reason(issuer: IssuerApp, end: str) -> None:
    """Nothing but `active: false`, however a token came to its end."""
    grant = issuer.grant()
    services = issuer.services
    if end == "logout":
        granted(issuer.logout(grant["refresh_token"]))
    elif end == "revoke":
        granted(issuer.revoke(grant["access_token"]))
        granted(issuer.revoke(grant["refresh_token"]))
    elif end == "password":
        granted(issuer.change_password(grant["access_token"]))
    elif end == "disabled":
        services.accounts.set_enabled(issuer.account.id, False, expires=0)
    elif end == "client":
        services.clients.disable("demo", watermark=0, expires=0)
    else:
        issuer.clock.advance(1800)
    for token in (grant["access_token"], grant["refresh_token"]):
        answer = issuer.introspect(token)
        assert granted(answer) == INACTIVE
        assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("token", ["nothing", "a.b.c", "a.b.c.d.e", "é", "x" * 8192])
@stacks.anywhere
def test_what_is_no_token_is_inactive(issuer: IssuerApp, token: str) -> None:
    """An unknown string is not an error (section 2.2)."""
    assert granted(issuer.introspect(token)) == INACTIVE


def test_one_api_learns_nothing_of_anothers_tokens(issuer: IssuerApp) -> None:
    """A token of another audience is inactive for whoever asks (section 4)."""
    grant = issuer.grant(client_id="kiosk")
    for token in (grant["access_token"], grant["refresh_token"]):
        assert granted(issuer.introspect(token, "rs")) == INACTIVE
        assert granted(issuer.introspect(token, "other")) == INACTIVE


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("rs", "wrong"),
        basic("rs", ""),
        basic("demo", ""),
        basic("nobody's"),
        basic("backend"),
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Negotiate YWJj"},
    ],
)
@stacks.anywhere
def test_only_an_authenticated_client_may_ask(issuer: IssuerApp, headers: dict[str, str]) -> None:
    """No secret, a wrong one, a public client, or one without the right: 401 for any token."""
    for token in (issuer.grant()["access_token"], "nothing"):
        answer = issuer.ask("POST", "/introspect", data={"token": token}, headers=headers)
        refused(answer, 401, "invalid_client")
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


def test_an_access_token_does_not_authenticate_a_client(issuer: IssuerApp) -> None:
    """A person's token opens no introspection."""
    token = issuer.grant()["access_token"]
    answer = issuer.ask("POST", "/introspect", data={"token": token}, headers=bearer(token))
    refused(answer, 401, "invalid_client")


def test_a_disabled_client_may_not_ask(issuer: IssuerApp) -> None:
    """Disabling takes the right away at once, enabling gives it back."""
    token = issuer.grant()["access_token"]
    issuer.services.clients.disable("rs", watermark=0, expires=0)
    refused(issuer.introspect(token), 401, "invalid_client")
    assert issuer.services.clients.enable("rs")
    assert granted(issuer.introspect(token))["active"]


@stacks.anywhere
def test_a_token_of_a_client_that_is_gone_is_inactive(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """Tokens of a client that the settings no longer name are worth nothing."""
    grant = make_issuer().grant(client_id="kiosk")
    clients = default_clients()
    del clients["kiosk"]
    clients["rs"]["audience"] = "kiosk-api"
    issuer = make_issuer(clients=clients)
    assert granted(issuer.introspect(grant["refresh_token"])) == INACTIVE
    refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_client")
