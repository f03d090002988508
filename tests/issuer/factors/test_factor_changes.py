"""`/factors`: who may change them, what ends with a change, and what an operator can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyotp
import pytest
from harness import stacks
from harness.factors import ask, authenticator, begin_passkey, enrol_app, enrol_passkey
from harness.issuer_app import (
    ABSOLUTE,
    NEW_PASSWORD,
    PASSWORD,
    IssuerApp,
    bearer,
    browser,
    claims_of,
    granted,
    refused,
)
from harness.limits import OFF
from werkzeug.test import TestResponse

from issuer.audit import Event, EventKind
from issuer.errors import OAuthError
from issuer.factors import changes
from issuer.factors.factor import MOST_FACTORS
from issuer.sessions.bearer import authenticate
from issuer.sessions.grant import Context

FRESH = 300
INSUFFICIENT = "insufficient_user_authentication"


def remove(issuer: IssuerApp, grant: dict[str, Any], factor: str, **fields: Any) -> TestResponse:
    """DELETE /factors/{id}."""
    path, headers = f"/factors/{factor}", bearer(grant["access_token"])
    return issuer.ask("DELETE", path, headers=headers, json=fields)


def factors_of(issuer: IssuerApp, grant: dict[str, Any]) -> list[dict[str, Any]]:
    """As `GET /factors` tells them."""
    answer = issuer.ask("GET", "/factors", headers=bearer(grant["access_token"]))
    told: list[dict[str, Any]] = granted(answer)["factors"]
    return told


def aged(issuer: IssuerApp, grant: dict[str, Any], seconds: int = FRESH) -> dict[str, Any]:
    """The same session once its login is so many seconds ago."""
    issuer.clock.advance(seconds)
    return granted(issuer.refresh(grant["refresh_token"]))


# --- who may change them -----------------------------------------------------------------------


@stacks.anywhere
@pytest.mark.parametrize("path", ["/totp", "/webauthn/options", "/recovery-codes"])
def test_a_login_that_is_not_fresh_needs_the_password_again(issuer: IssuerApp, path: str) -> None:
    """ASVS 7.5.1; 401 by RFC 9470 says how old a login may be, a wrong password is told so."""
    app = enrol_app(issuer)
    grant = aged(issuer, app.grant, FRESH - 1)
    assert ask(issuer, path, grant, end_other_sessions=False).status_code == 200
    grant = aged(issuer, grant, 1)
    stale = ask(issuer, path, grant)
    assert refused(stale, 401, INSUFFICIENT)
    assert f'max_age="{FRESH}"' in stale.headers["WWW-Authenticate"]
    wrong = ask(issuer, path, grant, current_password="wrong", otp=app.code())
    assert refused(wrong, 400, "invalid_grant") == "the current password is wrong"
    assert refused(ask(issuer, path, grant, current_password=PASSWORD), 401, "factor_required")
    wrong = ask(issuer, path, grant, current_password=PASSWORD, otp="000000")
    assert refused(wrong, 400, "factor_refused")
    assert granted(ask(issuer, path, grant, current_password=PASSWORD, otp=app.code()))


@stacks.anywhere
def test_a_fresh_login_without_the_factor_is_not_enough(issuer: IssuerApp) -> None:
    """A session from before the first factor knows the password alone."""
    other = issuer.grant()
    app = enrol_app(issuer, keep=True)
    for grant in (other, app.grant):
        assert refused(ask(issuer, "/totp", grant), 401, INSUFFICIENT)
    given = {"current_password": PASSWORD, "otp": app.next_code()}
    assert granted(ask(issuer, "/totp", other, **given))


@stacks.anywhere
def test_with_no_time_at_all_the_password_is_always_asked_for(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """`factors.fresh` 0."""
    issuer = make_issuer(factors={"fresh": 0})
    assert refused(ask(issuer, "/totp", issuer.grant()), 401, INSUFFICIENT)
    assert granted(ask(issuer, "/totp", issuer.grant(), current_password=PASSWORD))


@stacks.anywhere
def test_a_chain_of_changes_keeps_no_login_fresh(issuer: IssuerApp) -> None:
    """The session after a change counts from the proof, not from the change; so does its end."""
    app = enrol_app(issuer)
    began = claims_of(app.grant["access_token"])["auth_time"]
    issuer.clock.advance(FRESH - 1)
    grant = granted(ask(issuer, "/recovery-codes", app.grant))
    assert claims_of(grant["access_token"])["auth_time"] == began
    assert grant["session"]["absolute_expires_in"] == ABSOLUTE - (FRESH - 1)
    issuer.clock.advance(1)
    assert refused(ask(issuer, "/recovery-codes", grant), 401, INSUFFICIENT)


@stacks.anywhere
def test_the_password_is_no_bearer_token(issuer: IssuerApp) -> None:
    """Nothing happens without a token, whatever else is right."""
    proof = {"current_password": PASSWORD}
    bodies: dict[str, dict[str, Any]] = {
        "POST /factors/totp": proof,
        "POST /factors/totp/confirm": {"id": "x", "otp": "123456"},
        "POST /factors/webauthn/options": proof,
        "POST /factors/webauthn/register": {"webauthn": {"id": "x"}},
        "POST /factors/recovery-codes": proof,
        f"DELETE /factors/{'A' * 22}": proof,
    }
    assert refused(issuer.ask("GET", "/factors"), 401, "invalid_token")
    for asked, body in bodies.items():
        method, _, path = asked.partition(" ")
        assert refused(issuer.ask(method, path, json=body), 401, "invalid_token")


@stacks.anywhere
def test_a_malformed_request_spends_no_code(issuer: IssuerApp) -> None:
    """What is wrong with it is found before the code is looked at."""
    app = enrol_app(issuer)
    grant = aged(issuer, app.grant)
    given = {"current_password": PASSWORD, "otp": app.code()}
    for wrong in ({"end_other_sessions": "no"}, {"transport": "x"}, {"session_label": "\0"}):
        answer = ask(issuer, "/recovery-codes", grant, **given, **wrong)
        assert refused(answer, 400, "invalid_request")
    assert refused(ask(issuer, "/totp", grant, **given, label="a\nb"), 400, "invalid_request")
    assert granted(ask(issuer, "/recovery-codes", grant, **given))


# --- what ends with a change -------------------------------------------------------------------


@stacks.both_stores
def test_other_sessions_end_with_a_change(issuer: IssuerApp) -> None:
    """ASVS 7.4.3: all of them by default, and the caller goes on in a new one."""
    grant, other = issuer.grant(), issuer.grant()
    app = enrol_app(issuer, grant)
    for ended in (grant, other):
        assert issuer.sessions(ended["access_token"]).status_code == 401
        assert refused(issuer.refresh(ended["refresh_token"]), 400, "invalid_grant")
    listed = granted(issuer.sessions(app.grant["access_token"]))["sessions"]
    assert [one["sid"] for one in listed] == [app.grant["session"]["sid"]]
    (row,) = issuer.rows("journal")
    assert (row["reason"], row["done"]) == ("factor_change", True)


@stacks.anywhere
def test_other_sessions_stay_if_that_is_wished(issuer: IssuerApp) -> None:
    """Then there is nothing to answer but what was changed."""
    other = issuer.grant()
    app = enrol_app(issuer, keep=True)
    for kept in (app.grant, other):
        assert granted(issuer.refresh(kept["refresh_token"]))


@stacks.anywhere
def test_an_enrolment_from_before_the_first_factor_is_worth_nothing(issuer: IssuerApp) -> None:
    """It was begun by the password alone, in a session that stays."""
    other = issuer.grant()
    begun = granted(ask(issuer, "/totp", other))
    app = enrol_app(issuer, keep=True)
    code = pyotp.TOTP(begun["secret"]).at(int(issuer.clock()))
    confirm = {"id": begun["id"], "otp": code, "end_other_sessions": False}
    refused(ask(issuer, "/totp/confirm", other, **confirm), 404, "not_found")
    assert len(factors_of(issuer, app.grant)) == 1


@stacks.anywhere
def test_a_browser_gets_its_new_cookie(issuer: IssuerApp) -> None:
    """In cookie mode the answer holds no refresh token, and needs an own origin."""
    grant = issuer.grant()
    begun = granted(ask(issuer, "/totp", grant))
    code = pyotp.TOTP(begun["secret"]).at(issuer.clock())
    body = {"id": begun["id"], "otp": code, "transport": "cookie"}
    token = bearer(grant["access_token"])
    foreign = issuer.post(
        "/factors/totp/confirm", body, headers={**token, **browser(origin="https://evil.example")}
    )
    assert foreign.status_code == 403
    answer = issuer.post("/factors/totp/confirm", body, headers={**token, **browser()})
    assert "refresh_token" not in granted(answer)
    assert "__Host-" in answer.headers["Set-Cookie"]


@stacks.both_databases
def test_a_login_under_way_does_not_outrun_a_factor(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that found no factor, and is answered after one was enrolled, starts no session."""
    check = issuer.services.factors.check

    def enrolled_meanwhile(*arguments: Any) -> tuple[str, ...]:
        monkeypatch.setattr(issuer.services.factors, "check", check)
        added = check(*arguments)
        enrol_app(issuer)
        return added

    monkeypatch.setattr(issuer.services.factors, "check", enrolled_meanwhile)
    answer = issuer.login()
    assert (
        refused(answer, 400, "invalid_grant") == "the account has just been changed; log in again"
    )
    assert refused(issuer.login(), 401, "factor_required")


# --- list and remove ---------------------------------------------------------------------------


@stacks.both_databases
def test_factors_are_listed_without_their_secrets(issuer: IssuerApp) -> None:
    """What a person needs to tell them apart, and no more."""
    app = enrol_app(issuer, label="my phone")
    at = int(issuer.clock())
    grant = enrol_passkey(issuer, authenticator(), app.grant, otp=app.next_code())
    first, second = factors_of(issuer, grant)
    assert first == {
        "id": app.id,
        "kind": "totp",
        "label": "my phone",
        "created": at,
        "last_used": at + 30,
        "locked": False,
    }
    assert (second["kind"], second["label"], second["synced"]) == ("webauthn", "key", False)


@stacks.both_databases
def test_removing_the_last_factor_lowers_what_the_account_reaches(issuer: IssuerApp) -> None:
    """The password alone is enough again, the new session says so, and recovery codes are gone."""
    app = enrol_app(issuer)
    grant = granted(ask(issuer, "/recovery-codes", app.grant))
    device = authenticator()
    made = device.create(begin_passkey(issuer, grant, otp=app.next_code()))
    grant = granted(ask(issuer, "/webauthn/register", grant, webauthn=made))
    assert claims_of(grant["access_token"])["acr"] == "aal3"
    grant = granted(remove(issuer, grant, app.id))
    assert claims_of(grant["access_token"])["acr"] == "aal3"
    (left,) = factors_of(issuer, grant)
    assert len(issuer.rows("recovery_codes")) == 10
    grant = granted(remove(issuer, grant, left["id"]))
    claims = claims_of(grant["access_token"])
    assert (claims["amr"], claims["acr"]) == (["pwd"], "aal1")
    assert issuer.rows("recovery_codes") == []
    assert granted(issuer.login())


@stacks.anywhere
def test_only_ones_own_factor_is_removed(issuer: IssuerApp) -> None:
    """Anybody else's is not there."""
    app = enrol_app(issuer)
    issuer.services.accounts.add("bob", PASSWORD)
    bob = issuer.grant(username="bob")
    for name in (app.id, "A" * 22, "x", "A" * 23):
        assert refused(remove(issuer, bob, name), 404, "not_found")
    assert granted(issuer.sessions(bob["access_token"]))
    assert len(factors_of(issuer, app.grant)) == 1


@stacks.anywhere
def test_codes_need_a_factor_to_stand_in_for(issuer: IssuerApp) -> None:
    """Without one they would be a second password."""
    assert refused(ask(issuer, "/recovery-codes", issuer.grant()), 409, "conflict")


@stacks.anywhere
def test_there_is_a_most_of_factors(make_issuer: Callable[..., IssuerApp]) -> None:
    """Ten; whoever wants another one removes one."""
    issuer = make_issuer(limits=OFF)
    app = enrol_app(issuer)
    grant = app.grant
    for _ in range(MOST_FACTORS - 1):
        made = authenticator().create(begin_passkey(issuer, grant, otp=app.next_code()))
        grant = granted(ask(issuer, "/webauthn/register", grant, webauthn=made))
    for path in ("/totp", "/webauthn/options"):
        assert refused(ask(issuer, path, grant), 409, "conflict")
    grant = granted(remove(issuer, grant, app.id))
    assert granted(ask(issuer, "/totp", grant))


@stacks.anywhere
def test_a_reset_takes_everything_away(issuer: IssuerApp) -> None:
    """An operator's way for whoever has lost all: factors, codes, challenges and sessions."""
    app = enrol_app(issuer)
    grant = granted(ask(issuer, "/recovery-codes", app.grant))
    grant = enrol_passkey(issuer, authenticator(), grant, otp=app.next_code())
    issuer.login()
    removed = changes.reset(issuer.services, issuer.account)
    assert len(removed) == 2
    for table in ("factors", "recovery_codes", "factor_challenges"):
        assert issuer.rows(table) == []
    assert issuer.sessions(grant["access_token"]).status_code == 401
    assert granted(issuer.login())
    assert issuer.undone() == []


@stacks.both_databases
@pytest.mark.parametrize("end_others", [True, False])
def test_a_session_that_ended_meanwhile_changes_nothing(
    issuer: IssuerApp,
    end_others: bool,
) -> None:
    """A thief's change that was let in before a new password does not get past it."""
    app = enrol_app(issuer)
    who = authenticate(issuer.services, app.grant["access_token"])
    granted(issuer.change_password(app.grant["access_token"], otp=app.next_code()))
    proof = changes.Proof(("pwd", "otp", "mfa"), int(issuer.clock()))
    with pytest.raises(OAuthError) as caught:
        changes.renew_codes(issuer.services, who, proof, changes.Wish(end_others, Context()))
    assert caught.value.status == 409
    assert issuer.rows("recovery_codes") == []


# --- the password ------------------------------------------------------------------------------


@stacks.anywhere
def test_a_password_change_keeps_the_level_of_its_session(issuer: IssuerApp) -> None:
    """A session with two factors goes on with two; one of a password alone needs the other."""
    app = enrol_app(issuer, keep=True)
    answer = issuer.change_password(app.grant["access_token"])
    assert refused(answer, 401, "factor_required")
    changed = granted(issuer.change_password(app.grant["access_token"], otp=app.next_code()))
    assert claims_of(changed["access_token"])["amr"] == ["pwd", "otp", "mfa"]
    again = issuer.change_password(changed["access_token"], NEW_PASSWORD, PASSWORD)
    assert claims_of(granted(again)["access_token"])["amr"] == ["pwd", "otp", "mfa"]


# --- what is written down ----------------------------------------------------------------------


@stacks.both_databases
def test_each_change_and_refusal_is_in_the_audit_log(issuer: IssuerApp) -> None:
    """Who, what, and why in one word; neither secret nor code."""
    app = enrol_app(issuer)
    grant = granted(ask(issuer, "/recovery-codes", app.grant))
    code = grant["recovery_codes"][0]
    issuer.login()
    issuer.login(otp="000000")
    granted(issuer.login(recovery_code=code))
    grant = enrol_passkey(issuer, authenticator(), grant, otp=app.next_code())
    grant = granted(remove(issuer, grant, app.id))
    changes.reset(issuer.services, issuer.account)
    issuer.services.audit.flush()
    bodies = [row["body"] for row in issuer.rows("audit_log")]
    events = [Event.from_json(body) for body in bodies]
    told = [
        (event.kind.value, event.why, event.details.get("factor"))
        for event in events
        if event.kind.value.startswith("factor_")
    ]
    assert told == [
        ("factor_added", "", "totp"),
        ("factor_added", "", "recovery_codes"),
        ("factor_refused", "wrong_code", None),
        ("factor_removed", "spent", "recovery_code"),
        ("factor_added", "", "webauthn"),
        ("factor_removed", "", "totp"),
        ("factor_removed", "reset", "all"),
    ]
    assert {event.sub for event in events if event.kind.value.startswith("factor_")} == {
        issuer.account.id
    }
    failed = [event for event in events if event.outcome.value == "failure"]
    assert [event.why for event in failed if event.kind.value == "login"] == [
        "factor_required",
        "factor_refused",
    ]
    assert not any(app.totp.secret in body or code in body for body in bodies)


# --- what is written down ----------------------------------------------------------------------


@stacks.anywhere
def test_a_password_that_was_found_out_without_the_factor_is_written_down(
    issuer: IssuerApp,
) -> None:
    """Whoever has a stolen token, and tries passwords by it, is told that a factor is missing."""
    app = enrol_app(issuer, keep=True)
    headers = bearer(app.grant["access_token"])
    body = {"current_password": PASSWORD, "transport": "body"}
    refused(issuer.post("/elevate", body, headers=headers), 401, "factor_required")
    issuer.services.audit.flush()
    told = [each.event for each in issuer.services.audit.log.after(0, 1000)]
    (found,) = [each for each in told if each.kind is EventKind.FACTOR_REFUSED]
    assert (found.why, found.sub) == ("factor_required", issuer.account.id)
