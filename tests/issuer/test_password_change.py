"""POST /password."""

from __future__ import annotations

from typing import Any

import pytest
from harness import stacks
from harness.issuer_app import (
    NEW_PASSWORD,
    PASSWORD,
    USERNAME,
    IssuerApp,
    bearer,
    browser,
    claims_of,
    cookie_of,
    granted,
    refused,
)

from issuer.accounts import Account
from issuer.accounts.account import Change
from revocation import DenylistUnavailable


@stacks.everywhere
def test_a_change_ends_every_older_token_before_it_answers(issuer: IssuerApp) -> None:
    """Old access and refresh tokens of every session are refused; the answer's own are good."""
    mine, other = issuer.grant(), issuer.grant()
    new = granted(issuer.change_password(mine["access_token"]))
    for old in (mine, other):
        refused(issuer.sessions(old["access_token"]), 401, "invalid_token")
        text = refused(issuer.refresh(old["refresh_token"]), 400, "invalid_grant")
        assert "has changed" in text
        assert granted(issuer.introspect(old["access_token"])) == {"active": False}
    assert granted(issuer.sessions(new["access_token"]))
    assert granted(issuer.refresh(new["refresh_token"]))


def test_a_change_starts_a_new_session(issuer: IssuerApp) -> None:
    """The caller's new session has a new `sid`, both ends afresh, and the risen version."""
    mine = issuer.grant()
    issuer.clock.advance(60)
    new = granted(issuer.change_password(mine["access_token"], label="Desk"))
    assert new["session"]["sid"] != mine["session"]["sid"]
    assert new["session"]["absolute_expires_in"] == 43_200
    claims = claims_of(new["access_token"])
    assert (claims["sub_ver"], claims["auth_time"]) == (2, int(issuer.clock()))
    (session,) = granted(issuer.sessions(new["access_token"]))["sessions"]
    assert session["label"] == "Desk"


def test_a_change_changes_the_password(issuer: IssuerApp) -> None:
    """Afterwards the new password logs in and the old one does not."""
    granted(issuer.change_password(issuer.grant()["access_token"]))
    refused(issuer.login(), 400, "invalid_grant")
    assert issuer.grant(password=NEW_PASSWORD)


def test_no_clock_takes_part_in_a_change(issuer: IssuerApp) -> None:
    """A login in the very second of a change lives, and one from just before it dies."""
    before = issuer.grant()
    granted(issuer.change_password(before["access_token"]))
    after = issuer.grant(password=NEW_PASSWORD)
    assert claims_of(before["access_token"])["iat"] == claims_of(after["access_token"])["iat"]
    refused(issuer.sessions(before["access_token"]), 401, "invalid_token")
    assert granted(issuer.sessions(after["access_token"]))


def test_the_denylist_refuses_older_versions_by_itself(issuer: IssuerApp) -> None:
    """The entry that gateways see says "least version": it alone refuses the old token."""
    from issuer.sessions.bearer import refused_by_denylist

    services = issuer.services
    old = issuer.grant()["access_token"]
    new = granted(issuer.change_password(old))["access_token"]
    found = [
        refused_by_denylist(services, *services.verifier.verify_with_key(token))
        for token in (old, new)
    ]
    assert found == ["subject", None]
    (row,) = issuer.rows("journal")
    assert (row["value"], row["level"], row["done"]) == (issuer.account.id, 2, True)
    # It outlives the last token that it can hit, leeway and skew included.
    assert row["expires"] > claims_of(old)["exp"] + services.settings.leeway


def test_a_wrong_current_password_changes_nothing(issuer: IssuerApp) -> None:
    """The caller must know the present password (ASVS 7.5.1)."""
    mine = issuer.grant()
    before = issuer.rows("accounts")
    answer = issuer.change_password(mine["access_token"], "not my password")
    assert refused(answer, 400, "invalid_grant") == "the current password is wrong"
    assert (issuer.rows("accounts"), issuer.rows("journal")) == (before, [])
    assert granted(issuer.sessions(mine["access_token"]))


@pytest.mark.parametrize(
    ("new_password", "why"),
    [
        ("short", "at least 15 characters"),
        ("x" * 257, "longer than 256 characters"),
        ("password123456789", "guessed first"),
        (f"{USERNAME}1", "guessed first"),
    ],
)
@stacks.anywhere
def test_a_weak_new_password_is_refused(issuer: IssuerApp, new_password: str, why: str) -> None:
    """The refusal says which rule it was, and nothing has changed."""
    before = issuer.rows("accounts")
    token = issuer.grant()["access_token"]
    answer = issuer.change_password(token, new_password=new_password)
    assert why in refused(answer, 400, "invalid_request")
    assert issuer.rows("accounts") == before


def test_a_change_needs_a_valid_token(issuer: IssuerApp) -> None:
    """Without a bearer token, or with one that has ended, there is no change."""
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    answer = issuer.post("/password", body)
    refused(answer, 401, "invalid_token")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    token = issuer.grant()["access_token"]
    issuer.clock.advance(300 + issuer.services.settings.leeway)
    answer = issuer.change_password(token)
    assert refused(answer, 401, "invalid_token") == "the token has expired"
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_change_answers_in_the_transport_of_the_session(issuer: IssuerApp) -> None:
    """With the cookie the new session comes as a cookie; `transport` says otherwise."""
    mine = issuer.grant()
    headers = {**browser(mine["refresh_token"]), **bearer(mine["access_token"])}
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    answer = issuer.post("/password", body, headers=headers)
    assert "refresh_token" not in granted(answer)
    token, _ = cookie_of(answer)
    assert issuer.opened(token).sid == answer.get_json()["session"]["sid"]

    new = answer.get_json()["access_token"]
    body = {"current_password": NEW_PASSWORD, "new_password": PASSWORD, "transport": "body"}
    answer = issuer.post("/password", body, headers={**browser(token), **bearer(new)})
    assert "Set-Cookie" not in answer.headers
    assert granted(issuer.refresh(granted(answer)["refresh_token"]))


@stacks.everywhere
def test_a_denylist_that_is_down_makes_a_change_wait(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with Retry-After, never an answer that is not true; the next login finishes it."""
    mine = issuer.grant()

    def down(*_: object) -> None:
        raise DenylistUnavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(issuer.services.denylist, "add", down)
        answer = issuer.change_password(mine["access_token"])
        refused(answer, 503, "temporarily_unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert issuer.undone() == ["password_change"]
        # The password has changed, but nobody logs in before the change is in force.
        refused(issuer.login(), 400, "invalid_grant")
        refused(issuer.login(password=NEW_PASSWORD), 503, "temporarily_unavailable")
        refused(issuer.refresh(mine["refresh_token"]), 400, "invalid_grant")
    new = issuer.grant(password=NEW_PASSWORD)
    assert issuer.undone() == []
    refused(issuer.sessions(mine["access_token"]), 401, "invalid_token")
    assert granted(issuer.sessions(new["access_token"]))


@stacks.everywhere
def test_of_two_changes_from_one_password_one_wins(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that was overtaken answers 409 and leaves the winner's password."""
    mine, other = issuer.grant(), issuer.grant()
    verify = issuer.services.accounts.verify

    def overtaken(account: Account, password: str, source: str) -> None:
        verify(account, password, source)
        monkeypatch.setattr(issuer.services.accounts, "verify", verify)
        granted(
            issuer.change_password(other["access_token"], new_password="a winner's phrase 5512")
        )

    monkeypatch.setattr(issuer.services.accounts, "verify", overtaken)
    refused(issuer.change_password(mine["access_token"]), 409, "conflict")
    issuer.grant(password="a winner's phrase 5512")
    refused(issuer.login(password=NEW_PASSWORD), 400, "invalid_grant")
    assert len(issuer.rows("journal")) == 1


def test_a_rehash_in_between_does_not_lose_a_change(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that renews the hash while a password is changed only makes the change try again."""
    accounts = issuer.services.accounts
    token = issuer.grant()["access_token"]
    change_password = accounts.change_password
    tries = []

    def overtaken(read: Account, new_password: str, **options: Any) -> Change:
        if not tries:
            accounts._rehash(read, PASSWORD)
        tries.append(read.password_hash)
        return change_password(read, new_password, **options)

    monkeypatch.setattr(accounts, "change_password", overtaken)
    granted(issuer.change_password(token))
    assert len(tries) == len(set(tries)) == 2
    assert issuer.grant(password=NEW_PASSWORD)
