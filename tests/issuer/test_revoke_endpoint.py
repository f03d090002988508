"""POST /revoke (RFC 7009)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import stacks
from harness.issuer_app import (
    SECRET,
    IssuerApp,
    basic,
    claims_of,
    default_clients,
    granted,
    refused,
)

from keys import KeyRing
from keys import revoke as without_key
from tokens import MAX_LEEWAY


@stacks.everywhere
def test_a_revoked_access_token_is_refused(issuer: IssuerApp) -> None:
    """One access token ends; its session and its siblings go on."""
    grant = issuer.grant()
    sibling = granted(issuer.refresh(grant["refresh_token"]))["access_token"]
    assert granted(issuer.revoke(grant["access_token"])) == {}
    refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
    assert granted(issuer.sessions(sibling))
    assert granted(issuer.refresh(grant["refresh_token"]))
    (row,) = issuer.rows("journal")
    claims = claims_of(grant["access_token"])
    assert (row["kind"], row["value"], row["done"]) == ("token", claims["jti"], True)
    assert (row["reason"], row["sub"]) == ("rfc7009", claims["sub"])


def test_the_entry_outlives_the_token(issuer: IssuerApp) -> None:
    """A `jti` entry stays until no gateway, however lenient, could take the token any more."""
    token = issuer.grant()["access_token"]
    granted(issuer.revoke(token))
    settings = issuer.services.settings
    (row,) = issuer.rows("journal")
    last_accepted = claims_of(token)["exp"] + MAX_LEEWAY + 2 * settings.clock_tolerance
    assert row["expires"] == last_accepted + 1
    issuer.clock.advance_to(claims_of(token)["exp"] + settings.leeway - 1)
    text = refused(issuer.sessions(token), 401, "invalid_token")
    assert text == "the token has been revoked"
    issuer.clock.advance(1)
    assert refused(issuer.sessions(token), 401, "invalid_token") == "the token has expired"


def test_a_token_of_before_the_settings_changed_is_revoked(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """Shorter lifetimes and a client under another audience do not turn a revocation into none."""
    clients = default_clients()
    clients["demo"] |= {"access_lifetime": 3600, "audience": "before"}
    token = make_issuer(clients=clients).grant()["access_token"]
    issuer = make_issuer()
    granted(issuer.revoke(token))
    assert [row["value"] for row in issuer.rows("journal")] == [claims_of(token)["jti"]]


def test_a_token_that_only_a_lenient_gateway_takes_is_revoked(issuer: IssuerApp) -> None:
    """Past what this issuer forgives, some gateway may still take it."""
    token = issuer.grant()["access_token"]
    issuer.clock.advance_to(claims_of(token)["exp"] + MAX_LEEWAY - 1)
    granted(issuer.revoke(token))
    assert [row["value"] for row in issuer.rows("journal")] == [claims_of(token)["jti"]]


@pytest.mark.parametrize(
    ("kind", "revoked"), [("access_token", "token"), ("refresh_token", "session")]
)
def test_a_token_under_a_key_that_was_not_read_yet_is_revoked(
    make_issuer: Callable[..., IssuerApp], kind: str, revoked: str
) -> None:
    """Another issuer may have begun to use it a moment ago."""
    other, issuer = make_issuer(), make_issuer()
    settings, now = other.services.settings, int(other.clock())

    def renewed(ring: KeyRing) -> KeyRing:
        for kid in [key.kid for key in ring.keys]:
            ring = without_key(ring, kid, now, settings.rotation_policy())
        return ring

    other.services.key_store.update(renewed)
    other.services.keys.tick()
    token = other.grant()[kind]
    granted(issuer.revoke(token))
    assert [row["kind"] for row in issuer.rows("journal")] == [revoked]


@stacks.everywhere
def test_a_revoked_refresh_token_ends_its_session(issuer: IssuerApp) -> None:
    """Revoking a refresh token ends the access tokens of the same grant too (section 2.1)."""
    grant = issuer.grant()
    granted(issuer.revoke(grant["refresh_token"], token_type_hint="access_token"))
    refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")
    refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
    assert [row["reason"] for row in issuer.rows("journal")] == ["rfc7009"]


@pytest.mark.parametrize("token", ["nothing", "a.b.c", "a.b.c.d.e", "é", "x" * 8000])
@stacks.anywhere
def test_an_unknown_token_is_no_error(issuer: IssuerApp, token: str) -> None:
    """What is not valid needs no revoking (section 2.2)."""
    assert granted(issuer.revoke(token)) == {}
    assert issuer.rows("journal") == []


def test_revoking_twice_is_no_error(issuer: IssuerApp) -> None:
    """Both answers are 200, and both are true."""
    token = issuer.grant()["refresh_token"]
    for _ in range(2):
        granted(issuer.revoke(token))


def test_a_public_client_may_name_itself(issuer: IssuerApp) -> None:
    """The public client of the token may be named; another client's id is refused."""
    token = issuer.grant()["access_token"]
    refused(issuer.revoke(token, client_id="kiosk"), 400, "unauthorized_client")
    refused(issuer.revoke(token, client_id="backend"), 401, "invalid_client")
    refused(issuer.revoke(token, client_id="nobody's"), 401, "invalid_client")
    assert granted(issuer.sessions(token))
    assert granted(issuer.revoke(token, client_id="demo")) == {}


def test_the_token_of_a_confidential_client_needs_its_secret(issuer: IssuerApp) -> None:
    """Only the client that a token was issued to revokes it (section 2.1)."""
    token = issuer.grant(client_id="backend", headers=basic("backend"))["access_token"]
    refused(issuer.revoke(token), 400, "unauthorized_client")
    refused(issuer.revoke(token, client="rs"), 400, "unauthorized_client")
    assert granted(issuer.sessions(token))
    assert granted(issuer.revoke(token, client="backend")) == {}
    refused(issuer.sessions(token), 401, "invalid_token")


def test_wrong_credentials_are_refused_before_the_token_is_looked_at(issuer: IssuerApp) -> None:
    """A wrong secret is 401 with a challenge, whatever the token."""
    for token in (issuer.grant()["access_token"], "nothing"):
        headers = basic("backend", SECRET + "x")
        answer = issuer.ask("POST", "/revoke", data={"token": token}, headers=headers)
        refused(answer, 401, "invalid_client")
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
