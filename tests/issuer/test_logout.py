"""POST /logout."""

from __future__ import annotations

import pytest
from harness import stacks
from harness.issuer_app import IssuerApp, bearer, granted, refused

from revocation import DenylistUnavailable


@stacks.everywhere
@pytest.mark.parametrize("way", ["refresh_token", "bearer"])
def test_a_logout_ends_both_tokens(issuer: IssuerApp, way: str) -> None:
    """After a logout by either token, both are refused, and the journal has one finished row."""
    grant = issuer.grant()
    if way == "bearer":
        answer = issuer.post("/logout", headers=bearer(grant["access_token"]))
    else:
        answer = issuer.logout(grant["refresh_token"])
    assert granted(answer) == {"logged_out": True}
    assert "ended" in refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")
    refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
    (row,) = issuer.rows("journal")
    assert (row["kind"], row["reason"], row["done"]) == ("session", "logout", True)
    assert row["value"] == grant["session"]["sid"]


def test_a_logout_leaves_other_sessions_alone(issuer: IssuerApp) -> None:
    """Only the session of the token ends."""
    mine, other = issuer.grant(), issuer.grant()
    granted(issuer.logout(mine["refresh_token"]))
    assert granted(issuer.sessions(other["access_token"]))
    assert granted(issuer.refresh(other["refresh_token"]))


def test_a_token_of_any_generation_logs_out(issuer: IssuerApp) -> None:
    """A client that lost an answer can still log out with the token that it has."""
    old = issuer.grant()["refresh_token"]
    for _ in range(2):
        issuer.clock.advance(20)
        new = granted(issuer.refresh(old))
        old, oldest = new["refresh_token"], old
    granted(issuer.logout(oldest))
    refused(issuer.sessions(new["access_token"]), 401, "invalid_token")


def test_logging_out_twice_is_no_error(issuer: IssuerApp) -> None:
    """Logout may be repeated; one with a token that is not ours says that nothing was ended."""
    token = issuer.grant()["refresh_token"]
    for _ in range(2):
        granted(issuer.logout(token))
    assert granted(issuer.logout("nothing of ours")) == {"logged_out": False}


def test_a_bearer_token_logs_out_where_the_refresh_token_cannot_be_read(
    issuer: IssuerApp,
) -> None:
    """With both given, either ends the session."""
    grant = issuer.grant()
    headers = bearer(grant["access_token"])
    answer = issuer.post("/logout", {"refresh_token": "nothing of ours"}, headers=headers)
    assert granted(answer) == {"logged_out": True}
    refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")


def test_repeated_logouts_do_not_grow_the_journal(issuer: IssuerApp) -> None:
    """A session's end is journalled once, however often and in whichever way it is asked for."""
    grant = issuer.grant()
    for _ in range(3):
        granted(issuer.logout(grant["refresh_token"]))
        granted(issuer.revoke(grant["refresh_token"]))
        refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")
    assert len(issuer.rows("journal")) == 1


def test_a_logout_at_the_absolute_end_has_nothing_to_end(issuer: IssuerApp) -> None:
    """A token past its `exp` writes nothing."""
    token = issuer.grant(client_id="kiosk")["refresh_token"]
    issuer.clock.advance(7200)
    granted(issuer.logout(token))
    assert issuer.rows("journal") == []


def test_a_logout_without_anything_says_what_is_needed(issuer: IssuerApp) -> None:
    """Neither token nor cookie is a malformed request."""
    refused(issuer.post("/logout"), 400, "invalid_request")


def test_a_revoked_bearer_cannot_log_out(issuer: IssuerApp) -> None:
    """An access token that has been revoked ends nothing."""
    token = issuer.grant()["access_token"]
    granted(issuer.revoke(token))
    refused(issuer.post("/logout", headers=bearer(token)), 401, "invalid_token")


@stacks.everywhere
def test_a_logout_that_stops_half_way_is_finished_by_the_next_refresh(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the denylist down a logout answers 503; whoever then meets the session ends it."""
    grant = issuer.grant()

    def down(*_: object) -> None:
        raise DenylistUnavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(issuer.services.denylist, "add", down)
        answer = issuer.logout(grant["refresh_token"])
        refused(answer, 503, "temporarily_unavailable")
        assert answer.headers["Retry-After"] == "1"
        # Nobody is told that it worked, and yet nobody can go on.
        refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
        refused(issuer.refresh(grant["refresh_token"]), 503, "temporarily_unavailable")
    assert issuer.undone() == ["logout"]
    refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")
    assert issuer.undone() == []
