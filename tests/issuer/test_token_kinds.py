"""Every kind of token that an issuer hands out, at every place where it takes one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness import stacks
from harness.attack_material import decryption_keys
from harness.issuer_app import (
    ISSUER,
    NEW_PASSWORD,
    IssuerApp,
    basic,
    bearer,
    claims_of,
    default_clients,
    follow,
)

ONE_OF_EACH = ("access", "sealed", "refresh", "reset", "status list", "feed", "session id")
TAKEN = {
    "bearer": {"access"},
    "refresh": {"refresh"},
    "introspection": {"access", "refresh"},
    "revocation": {"access", "refresh"},
    "logout": {"refresh"},
    "logout by bearer": {"access"},
    "password": {"access"},
    "reset": {"reset"},
    "feed": set(),
}
"""What each place takes; everything else is refused there, or does nothing."""


@pytest.fixture
def issuer(make_issuer: Callable[..., IssuerApp]) -> IssuerApp:
    """One that hands out every kind: sealed tokens to `vault`, status lists to `demo`."""
    clients = default_clients()
    clients["demo"]["status_list"] = True
    clients["vault"] = {"audience": "vault-api"}
    public = {name: value for name, value in decryption_keys()[0].items() if name != "d"}
    made = make_issuer(clients=clients, audiences={"vault-api": {"encryption_jwk": public}})
    follow(made)
    return made


def tokens_of(issuer: IssuerApp) -> dict[str, str]:
    """One of each kind, all good."""
    grant = issuer.grant()
    access = grant["access_token"]
    uri = claims_of(access)["status"]["status_list"]["uri"].removeprefix(ISSUER)
    state = issuer.ask(
        "GET", "/revocations/state", query_string={"nonce": "n" * 22}, headers=basic("edge")
    )
    reset = issuer.forgot()
    assert reset is not None
    return {
        "access": access,
        "sealed": issuer.grant(client_id="vault")["access_token"],
        "refresh": grant["refresh_token"],
        "reset": reset,
        "status list": issuer.ask("GET", uri).text,
        "feed": state.text.strip(),
        "session id": grant["session"]["sid"],
    }


def ask(issuer: IssuerApp, place: str, token: str) -> bool:
    """Whether a place takes a token."""
    if place == "bearer":
        return issuer.sessions(token).status_code == 200
    if place == "refresh":
        return issuer.refresh(token).status_code == 200
    if place == "introspection":
        return bool(issuer.introspect(token).get_json()["active"])
    if place == "logout":
        return bool(issuer.logout(token).get_json()["logged_out"])
    if place == "logout by bearer":
        return issuer.post("/logout", headers=bearer(token)).status_code == 200
    if place == "password":
        return issuer.change_password(token).status_code == 200
    if place == "feed":
        return issuer.ask("GET", "/revocations", headers=bearer(token)).status_code == 200
    if place == "reset":
        body = {"token": token, "new_password": NEW_PASSWORD}
        return issuer.post("/password/reset", body).status_code == 200
    before = issuer.rows("journal")
    assert issuer.revoke(token).status_code in {200, 400}
    return issuer.rows("journal") != before


@stacks.anywhere
@pytest.mark.parametrize("place", TAKEN)
def test_each_place_takes_its_own_kinds(issuer: IssuerApp, place: str) -> None:
    """RFC 8725 sections 3.11 and 3.12: no kind passes as another, and a refusal changes nothing."""
    made: dict[str, Any] = tokens_of(issuer)
    assert set(made) == set(ONE_OF_EACH)
    assert len({token for token in made.values() if token}) == len(made)
    strangers = [kind for kind in ONE_OF_EACH if kind not in TAKEN[place]]
    before = issuer.everything()
    assert [kind for kind in strangers if ask(issuer, place, made[kind])] == []
    assert issuer.everything() == before
    for kind in sorted(TAKEN[place]):
        fresh = tokens_of(issuer)[kind]
        assert ask(issuer, place, fresh), kind
