"""What an operator changes while people are logged in: roles, accounts, clients, keys."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import stacks
from harness.issuer_app import (
    PASSWORD,
    IssuerApp,
    bearer,
    claims_of,
    default_clients,
    granted,
    refused,
)

from issuer.accounts.account import Change
from issuer.sessions import end_all


def push(issuer: IssuerApp, change: Change | None) -> None:
    """Carry a change to the denylist, as the command line does."""
    assert change is not None
    issuer.services.revoker.complete_id(change.journal_id)


@stacks.everywhere
def test_a_lost_role_takes_effect_at_once_without_a_logout(issuer: IssuerApp) -> None:
    """The old access token is refused, and a refresh goes on with the roles that are left."""
    grant = issuer.grant()
    services = issuer.services
    expires = services.revoker.entry_expiry()
    push(issuer, services.accounts.set_roles(issuer.account.id, ("staff",), expires=expires))
    refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
    renewed = granted(issuer.refresh(grant["refresh_token"]))
    claims = claims_of(renewed["access_token"])
    assert (claims["sub_ver"], claims["roles"]) == (2, ["staff"])
    assert renewed["session"]["sid"] == grant["session"]["sid"]
    assert granted(issuer.sessions(renewed["access_token"]))
    (row,) = issuer.rows("journal")
    assert (row["kind"], row["reason"], row["done"]) == ("subject", "roles", True)


def test_a_gained_role_comes_with_the_next_refresh(issuer: IssuerApp) -> None:
    """Nothing is revoked for a role that is added."""
    grant = issuer.grant()
    roles = ("admin", "audit", "staff")
    assert issuer.services.accounts.set_roles(issuer.account.id, roles, expires=0) is None
    assert granted(issuer.sessions(grant["access_token"]))
    claims = claims_of(granted(issuer.refresh(grant["refresh_token"]))["access_token"])
    assert (claims["sub_ver"], claims["roles"]) == (1, list(roles))
    assert issuer.rows("journal") == []


def test_an_account_without_roles_has_no_such_claim(issuer: IssuerApp) -> None:
    """`roles` is absent rather than empty."""
    issuer.services.accounts.add("bob", "quite another phrase 17")
    token = issuer.grant(username="bob", password="quite another phrase 17")["access_token"]
    assert "roles" not in claims_of(token)


@stacks.everywhere
def test_disabling_an_account_ends_everything_of_it(issuer: IssuerApp) -> None:
    """Tokens of a disabled account are refused at once, and enabling brings none of them back."""
    grant = issuer.grant()
    services = issuer.services
    sub = issuer.account.id
    push(issuer, services.accounts.set_enabled(sub, False, expires=services.revoker.entry_expiry()))
    refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
    assert "disabled" in refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")
    refused(issuer.login(), 400, "invalid_grant")
    assert services.accounts.set_enabled(sub, True, expires=0) is None
    refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
    refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")
    assert granted(issuer.sessions(issuer.grant()["access_token"]))


def test_disabling_is_in_force_before_the_denylist_knows(issuer: IssuerApp) -> None:
    """SQL alone stops an issuer's own answers, whether or not the entry has been pushed."""
    grant = issuer.grant()
    issuer.services.accounts.set_enabled(issuer.account.id, False, expires=0)
    refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
    refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")


def test_a_disabled_client_logs_nobody_in(issuer: IssuerApp) -> None:
    """Login, refresh and the tokens of a disabled client are refused, until it is enabled."""
    services = issuer.services
    grant, other = issuer.grant(), issuer.grant(client_id="kiosk")
    now = int(issuer.clock())
    row = services.clients.disable("demo", watermark=now, expires=now + 1000)
    services.revoker.complete_id(row)
    refused(issuer.login(), 400, "unauthorized_client")
    refused(issuer.refresh(grant["refresh_token"]), 400, "unauthorized_client")
    refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
    assert granted(issuer.sessions(other["access_token"]))
    assert services.clients.is_disabled("demo")
    # Again, for whoever lost the answer.
    services.revoker.complete_id(services.clients.disable("demo", watermark=now, expires=now + 9))
    assert len(issuer.rows("disabled_clients")) == 1

    assert services.clients.enable("demo")
    assert not services.clients.enable("demo")
    issuer.clock.advance(20)
    refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")


@pytest.mark.parametrize("name", ["demo", "api"])
def test_no_session_of_before_outlives_a_revoked_client(issuer: IssuerApp, name: str) -> None:
    """Enabled again, also once the entry has expired, it has no session but those begun since."""
    services = issuer.services
    grant, other = issuer.grant(), issuer.grant(client_id="kiosk")
    until = int(issuer.clock()) + 5
    services.revoker.complete_id(services.clients.disable(name, watermark=until, expires=until + 9))
    services.clients.enable(name)
    # What a login gets now would be refused by gateways.
    answer = issuer.login()
    refused(answer, 503, "temporarily_unavailable")
    assert answer.headers["Retry-After"] == "6"
    issuer.clock.advance(6)
    new = issuer.grant()
    assert granted(issuer.introspect(grant["refresh_token"])) == {"active": False}
    sids = [one["sid"] for one in granted(issuer.sessions(new["access_token"]))["sessions"]]
    assert sids == [other["session"]["sid"], new["session"]["sid"]]
    for passed in (0, 400):
        issuer.clock.advance(passed)
        services.journal.prune()
        text = refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")
        assert text in {
            "the client was revoked since the session began; log in again",
            "the session has been ended; log in again",
        }
    assert granted(issuer.refresh(new["refresh_token"]))
    assert granted(issuer.refresh(other["refresh_token"]))


def test_an_account_that_is_gone_has_no_tokens(issuer: IssuerApp) -> None:
    """Tokens of an account that the directory no longer has are refused."""
    grant = issuer.grant()
    with issuer.services.engine.begin() as connection:
        from issuer.database.tables import accounts

        connection.execute(accounts.delete())
    refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
    refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")


def test_everything_of_a_person_ends_in_one_step(issuer: IssuerApp) -> None:
    """An operator's logout of one person is one journal row for any number of sessions."""
    grants = [issuer.grant() for _ in range(5)]
    end_all(issuer.services, sub=issuer.account.id)
    for grant in grants:
        refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")
    assert len(issuer.rows("journal")) == 1


def test_a_client_that_left_the_settings_leaves_tokens_worth_nothing_here(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """Everything that a bearer token opens answers 401 without its client, and changes nothing."""
    token = make_issuer().grant()["access_token"]
    clients = {name: client for name, client in default_clients().items() if name != "demo"}
    without = make_issuer(clients=clients)
    answers = [
        without.sessions(token),
        without.change_password(token),
        without.post("/elevate", {"current_password": PASSWORD}, headers=bearer(token)),
        without.ask("GET", "/factors", headers=bearer(token)),
        without.post("/factors/totp", {}, headers=bearer(token)),
    ]
    assert [answer.status_code for answer in answers] == [401] * 5
    assert {answer.get_json()["error"] for answer in answers} == {"invalid_token"}
    make_issuer().grant()
