"""POST /elevate: a new session that has more for a short time, and then what it had before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness import stacks
from harness.elevated import elevate
from harness.factors import enrol_app
from harness.issuer_app import (
    ABSOLUTE,
    ACCESS_LIFETIME,
    IssuerApp,
    browser,
    claims_of,
    cookie_of,
    granted,
    refused,
)

from issuer.families import Status
from issuer.journal import Reason

LASTS = 120
"""Seconds of an elevation: fewer than a token has."""

Make = Callable[..., IssuerApp]


@pytest.fixture
def issuer(make_issuer: Make, clients: dict[str, dict[str, Any]]) -> IssuerApp:
    """Elevations of `demo` end before an access token would."""
    clients["demo"]["elevation"] = LASTS
    return make_issuer(clients=clients)


def test_an_elevation_is_a_new_session_in_the_place_of_the_old(issuer: IssuerApp) -> None:
    """ASVS 7.2.4: a new `sid` and a fresh `auth_time`; every older token is worth nothing."""
    old = issuer.grant(label="Desk")
    issuer.clock.advance(100)
    new = granted(elevate(issuer, old["access_token"], scope="pay"))
    now = int(issuer.clock())
    before, after = claims_of(old["access_token"]), claims_of(new["access_token"])
    assert after["sid"] == new["session"]["sid"] != before["sid"]
    assert (after["auth_time"], before["auth_time"]) == (now, now - 100)
    assert (after["scope"], new["scope"]) == ("read write pay", "read write pay")
    assert (after["exp"], new["session"]["elevated_expires_in"]) == (now + LASTS, LASTS)
    refused(issuer.sessions(old["access_token"]), 401, "invalid_token")
    assert "ended" in refused(issuer.refresh(old["refresh_token"]), 400, "invalid_grant")
    (listed,) = granted(issuer.sessions(new["access_token"]))["sessions"]
    assert (listed["sid"], listed["label"]) == (after["sid"], "Desk")
    (row,) = issuer.rows("journal")
    assert (row["value"], row["reason"], row["done"]) == (before["sid"], Reason.ELEVATED, True)


def test_after_its_time_the_session_is_what_it_was(issuer: IssuerApp) -> None:
    """Nobody is logged out, and nobody is logged in for longer than before."""
    old = issuer.grant()
    issuer.clock.advance(100)
    new = granted(elevate(issuer, old["access_token"], scope="pay"))
    issuer.clock.advance(LASTS)
    plain = granted(issuer.refresh(new["refresh_token"]))
    claims, first = claims_of(plain["access_token"]), claims_of(old["access_token"])
    for name in ("auth_time", "scope", "amr", "acr"):
        assert claims[name] == first[name], name
    assert claims["sid"] == new["session"]["sid"]
    assert claims["exp"] == int(issuer.clock()) + ACCESS_LIFETIME
    assert "elevated_expires_in" not in plain["session"]
    assert plain["session"]["absolute_expires_in"] == ABSOLUTE - 100 - LASTS


@stacks.anywhere
@pytest.mark.parametrize(
    ("after", "elevated"), [(0, True), (LASTS - 1, True), (LASTS, False), (LASTS + 1, False)]
)
def test_no_token_outlives_the_elevation(issuer: IssuerApp, after: int, elevated: bool) -> None:
    """A refresh until its last second gives what ends with it; from that moment on, the rest."""
    new = granted(elevate(issuer, issuer.grant()["access_token"], scope="pay"))
    end = int(issuer.clock()) + LASTS
    issuer.clock.advance(after)
    claims = claims_of(granted(issuer.refresh(new["refresh_token"]))["access_token"])
    assert ("pay" in claims["scope"].split()) is elevated
    assert claims["exp"] == (end if elevated else int(issuer.clock()) + ACCESS_LIFETIME)


@stacks.anywhere
def test_an_elevation_of_an_elevation_falls_back_just_as_far(issuer: IssuerApp) -> None:
    """What comes back is the login, and not the elevation before."""
    old = issuer.grant()
    issuer.clock.advance(10)
    first = granted(elevate(issuer, old["access_token"], scope="pay"))
    issuer.clock.advance(10)
    second = granted(elevate(issuer, first["access_token"]))
    assert "pay" not in second["scope"]
    issuer.clock.advance(LASTS)
    claims = claims_of(granted(issuer.refresh(second["refresh_token"]))["access_token"])
    assert claims["auth_time"] == claims_of(old["access_token"])["auth_time"]
    assert claims["scope"] == "read write"


def test_a_second_factor_is_asked_for_where_there_is_one(issuer: IssuerApp) -> None:
    """Without it nothing is begun; with it the level rises, and falls again."""
    old = issuer.grant()
    app = enrol_app(issuer, keep=True)
    before = issuer.rows("journal")
    asked = elevate(issuer, old["access_token"])
    assert (asked.status_code, asked.get_json()["error"]) == (401, "factor_required")
    refused(elevate(issuer, old["access_token"], otp="000000"), 400, "factor_refused")
    assert issuer.rows("journal") == before
    new = granted(elevate(issuer, old["access_token"], otp=app.next_code(), acr="aal2"))
    claims = claims_of(new["access_token"])
    assert (claims["acr"], claims["amr"]) == ("aal2", ["pwd", "otp", "mfa"])
    issuer.clock.advance(LASTS)
    claims = claims_of(granted(issuer.refresh(new["refresh_token"]))["access_token"])
    assert (claims["acr"], claims["amr"]) == ("aal1", ["pwd"])


@stacks.anywhere
@pytest.mark.parametrize(
    ("fields", "status", "error", "why"),
    [
        ({"acr": "aal2"}, 403, "insufficient_user_authentication", "a second factor beside a pass"),
        ({"acr": "aal3"}, 403, "insufficient_user_authentication", "key cannot leave it"),
        ({"scope": "pay admin"}, 400, "invalid_scope", "no such scope"),
        ({"current_password": "wrong"}, 400, "invalid_grant", "current password is wrong"),
    ],
)
def test_what_is_refused_changes_nothing(
    issuer: IssuerApp, fields: dict[str, Any], status: int, error: str, why: str
) -> None:
    """The refusal says what is missing, and the session goes on as it is."""
    old = issuer.grant()
    assert why in refused(elevate(issuer, old["access_token"], **fields), status, error)
    assert issuer.rows("journal") == []
    assert len(granted(issuer.sessions(old["access_token"]))["sessions"]) == 1
    assert "pay" not in granted(issuer.refresh(old["refresh_token"]))["scope"]


@stacks.anywhere
def test_guesses_are_counted_as_at_a_login(issuer: IssuerApp) -> None:
    """Whoever has stolen an access token guesses no more here than there (ASVS 6.3.1)."""
    token = issuer.grant()["access_token"]
    for _ in range(5):
        refused(elevate(issuer, token, current_password="wrong"), 400, "invalid_grant")
    refused(elevate(issuer, token), 429, "too_many_requests")
    refused(issuer.login(), 429, "too_many_requests")


@stacks.anywhere
def test_a_browser_gets_the_new_session_in_its_cookie(issuer: IssuerApp) -> None:
    """In cookie mode, from the client's own pages alone, and nothing of it is in the body."""
    cookie, _ = cookie_of(issuer.login(transport="cookie", headers=browser()))
    access = granted(issuer.post("/refresh", headers=browser(cookie)))["access_token"]
    body = {"current_password": "seven violet otters juggle 91"}
    bearing = {"Authorization": f"Bearer {access}"}
    foreign = {**browser(cookie, "https://evil.example", "cross-site"), **bearing}
    refused(issuer.post("/elevate", body, headers=foreign), 403, "access_denied")
    answer = issuer.post("/elevate", body, headers={**browser(cookie), **bearing})
    assert "refresh_token" not in granted(answer)
    fresh, attributes = cookie_of(answer)
    assert attributes["samesite"] == "Strict"
    refused(issuer.post("/refresh", headers=browser(cookie)), 400, "invalid_grant")
    granted(issuer.post("/refresh", headers=browser(fresh)))


def _sessions(issuer: IssuerApp) -> set[Status]:
    """The states of the person's families that a refresh would still continue."""
    return {family.status for family in issuer.services.families.of_subject(issuer.account.id)}


@pytest.mark.parametrize("when", ["before the new one is made", "after it"])
@pytest.mark.parametrize("how", ["its end", "every session's end", "disabling"])
def test_a_session_that_is_ended_meanwhile_has_no_successor(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch, when: str, how: str
) -> None:
    """Nobody keeps by an elevation what an administrator is just taking away."""
    services = issuer.services
    old = issuer.grant()
    sid, sub = old["session"]["sid"], issuer.account.id
    create = type(services.families).create

    def end() -> None:
        if how == "its end":
            services.revoker.end_session(sub, sid, reason=Reason.OPERATOR)
            return
        expires = services.revoker.entry_expiry()
        if how == "disabling":
            change = services.accounts.set_enabled(sub, enabled=False, expires=expires)
        else:
            change = services.accounts.raise_versions(sub, expires=expires, reason="operator")
        assert change is not None
        services.revoker.complete_id(change.journal_id)

    def interrupted(*given: Any, **named: Any) -> Any:
        if when == "before the new one is made":
            end()
        made = create(*given, **named)
        if when == "after it":
            end()
        return made

    monkeypatch.setattr(type(services.families), "create", interrupted)
    refused(elevate(issuer, old["access_token"]), 401, "invalid_token")
    live = services.families.of_subject(sub)
    current = services.accounts.by_id(sub)
    assert current is not None
    assert [f for f in live if f.credential_version == current.credential_version] == []


@stacks.anywhere
def test_an_end_that_comes_with_the_replacement_wins(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended by somebody else between the last look and the replacement: nothing goes on."""
    services = issuer.services
    old = issuer.grant()
    end_session = type(services.revoker).end_session

    def beaten(revoker: Any, sub: str, sid: str, **given: Any) -> None:
        end_session(revoker, sub, sid, **{**given, "reason": Reason.OPERATOR})
        end_session(revoker, sub, sid, **given)

    monkeypatch.setattr(type(services.revoker), "end_session", beaten)
    refused(elevate(issuer, old["access_token"]), 401, "invalid_token")
    assert services.families.of_subject(issuer.account.id) == []


@stacks.anywhere
def test_who_has_no_live_session_is_not_elevated(issuer: IssuerApp) -> None:
    """A session that has ended for want of activity leaves an access token, and no more."""
    kiosk = issuer.grant()
    issuer.services.families.mark(issuer.account.id, kiosk["session"]["sid"], Status.ENDED)
    refused(elevate(issuer, kiosk["access_token"]), 401, "invalid_token")
    refused(elevate(issuer, "of.no.worth"), 401, "invalid_token")
