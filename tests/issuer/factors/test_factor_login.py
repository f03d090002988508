"""POST /login of an account with a second factor."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from harness import stacks
from harness.factors import App, ask, challenged, enrol_app, enrol_passkey
from harness.factors import authenticator as passkey
from harness.issuer_app import (
    PASSWORD,
    USERNAME,
    IssuerApp,
    bearer,
    browser,
    claims_of,
    granted,
    refused,
)
from harness.limits import OFF, elsewhere, limits, statuses
from werkzeug.test import TestResponse

from issuer.factors import FactorUnreadable
from issuer.factors.sealing import FactorSeal

WRONG = "the second factor is wrong or was used already"
SECRET = "a secret of which nobody has heard"


@stacks.both_stores
def test_a_code_beside_the_password_is_two_factors(issuer: IssuerApp) -> None:
    """`amr` names the methods by RFC 8176, `acr` the level; a refresh keeps both."""
    app = enrol_app(issuer)
    grant = granted(issuer.login(otp=app.next_code()))
    claims = claims_of(grant["access_token"])
    assert (claims["amr"], claims["acr"]) == (["pwd", "otp", "mfa"], "aal2")
    renewed = claims_of(granted(issuer.refresh(grant["refresh_token"]))["access_token"])
    assert (renewed["amr"], renewed["acr"]) == (claims["amr"], claims["acr"])


@stacks.on_redis
def test_without_one_nothing_is_created(issuer: IssuerApp) -> None:
    """401, what would do, and a challenge by RFC 9470; no session, nothing else anywhere."""
    enrol_app(issuer)
    before = issuer.everything()
    answer = issuer.login()
    assert refused(answer, 401, "factor_required") == "a second factor is required"
    assert answer.get_json()["factors"] == ["totp"]
    assert "webauthn" not in answer.get_json()
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer error="insufficient_user_authentication"')
    assert issuer.everything() == before


@stacks.anywhere
def test_only_the_right_password_is_told_of_factors(issuer: IssuerApp) -> None:
    """A wrong password gets the answer of a name that nobody has, whatever comes with it."""
    app = enrol_app(issuer)
    nobody = issuer.login("nobody", PASSWORD)
    for more in ({}, {"otp": app.next_code()}, {"recovery_code": "x"}, {"webauthn": {}}):
        answer = issuer.login(USERNAME, "wrong", **more)
        assert (answer.status_code, answer.data) == (nobody.status_code, nobody.data)
    # And the code that came with it is not spent.
    assert granted(issuer.login(otp=app.code()))


@stacks.anywhere
def test_a_disabled_account_is_not_told_either(issuer: IssuerApp) -> None:
    """As without factors."""
    app = enrol_app(issuer)
    issuer.services.accounts.set_enabled(issuer.account.id, False, expires=0)
    answers = [issuer.login(), issuer.login(otp=app.next_code()), issuer.login("nobody")]
    assert len({answer.data for answer in answers}) == 1


@stacks.anywhere
def test_a_wrong_factor_is_refused_with_one_answer(make_issuer: Callable[..., IssuerApp]) -> None:
    """Whatever was wrong with it."""
    issuer = make_issuer(limits=OFF)
    enrol_app(issuer)
    wrong: list[dict[str, Any]] = [
        {"otp": "000000"},
        {"otp": "no code"},
        {"recovery_code": "aaaa-aaaa-aaaa-aaaa-aaaa-aaaa"},
        {"webauthn": {}},
        {"webauthn": {"id": "x", "response": {"clientDataJSON": "!"}}},
    ]
    for given in wrong:
        assert refused(issuer.login(**given), 400, "factor_refused") == WRONG


@stacks.anywhere
def test_two_factors_at_once_are_one_too_many(issuer: IssuerApp) -> None:
    """It would not be clear which of them counts, and both would be spent."""
    app = enrol_app(issuer)
    answer = issuer.login(otp=app.next_code(), recovery_code="x")
    assert refused(answer, 400, "invalid_request")
    assert granted(issuer.login(otp=app.code()))


@stacks.anywhere
def test_an_account_without_a_factor_goes_on_as_ever(issuer: IssuerApp) -> None:
    """Nothing is asked for, and what is given in vain changes nothing."""
    claims = claims_of(issuer.grant(otp="123456")["access_token"])
    assert (claims["amr"], claims["acr"]) == (["pwd"], "aal1")


@stacks.both_stores
def test_wrong_codes_count_as_wrong_passwords(make_issuer: Callable[..., IssuerApp]) -> None:
    """The same limit for both, and a right password without a code makes up for nothing."""
    issuer = make_issuer(limits=limits(guesses_account="5 per hour"))
    app = enrol_app(issuer)
    answers = [
        guess(issuer, 1, otp="000000"),
        guess(issuer, 2, password="wrong"),
        guess(issuer, 3, otp="000000"),
        guess(issuer, 4),
        guess(issuer, 5, recovery_code="x"),
        guess(issuer, 6, webauthn={"id": "x"}),
    ]
    assert statuses(answers) == [400, 400, 400, 401, 400, 400]
    assert guess(issuer, 7, otp=app.next_code()).status_code == 429
    assert guess(issuer, 8).status_code == 429


def guess(issuer: IssuerApp, place: int, **given: object) -> TestResponse:
    """One login from a network of its own."""
    body = {"username": USERNAME, "password": PASSWORD, "transport": "body", **given}
    return issuer.post("/login", body, environ_base={"REMOTE_ADDR": elsewhere(place)})


@stacks.both_databases
def test_a_recovery_code_is_good_for_one_login(issuer: IssuerApp) -> None:
    """However it is typed; what is stored is a digest, and what is left is told."""
    app = enrol_app(issuer)
    made = granted(ask(issuer, "/recovery-codes", app.grant))
    codes = made["recovery_codes"]
    assert len(set(codes)) == 10
    assert {len(code) for code in codes} == {29}
    stored = repr(issuer.rows("recovery_codes"))
    assert not any(code in stored or code.replace("-", "") in stored for code in codes)
    typed = codes[3].upper().replace("-", " ")
    grant = granted(issuer.login(recovery_code=typed))
    assert claims_of(grant["access_token"])["amr"] == ["pwd", "otp", "mfa"]
    assert refused(issuer.login(recovery_code=codes[3]), 400, "factor_refused")
    assert issuer.login().get_json()["factors"] == ["totp", "recovery_code"]
    listed = granted(issuer.ask("GET", "/factors", headers=bearer(grant["access_token"])))
    assert listed["recovery_codes_left"] == 9


@stacks.anywhere
def test_new_recovery_codes_end_the_old_ones(issuer: IssuerApp) -> None:
    """A list that was lost is worth nothing once there is another."""
    app = enrol_app(issuer)
    first = granted(ask(issuer, "/recovery-codes", app.grant))
    second = granted(ask(issuer, "/recovery-codes", first))
    code = first["recovery_codes"][0]
    assert refused(issuer.login(recovery_code=code), 400, "factor_refused")
    assert granted(issuer.login(recovery_code=second["recovery_codes"][0]))


@stacks.anywhere
def test_another_persons_recovery_code_is_none(issuer: IssuerApp) -> None:
    """A digest is of the code and of whose it is."""
    app = enrol_app(issuer)
    code = granted(ask(issuer, "/recovery-codes", app.grant))["recovery_codes"][0]
    issuer.services.accounts.add("bob", PASSWORD)
    bob = issuer.grant(username="bob")
    enrol_app(issuer, bob)
    assert refused(issuer.login("bob", PASSWORD, recovery_code=code), 400, "factor_refused")
    assert granted(issuer.login(recovery_code=code))


@stacks.anywhere
def test_cookie_mode_takes_a_factor_too(issuer: IssuerApp) -> None:
    """A browser's login: the cookie comes with the second answer, not with the first."""
    app = enrol_app(issuer)
    first = issuer.login(transport="cookie", headers=browser())
    assert (first.status_code, "Set-Cookie" in first.headers) == (401, False)
    second = issuer.login(transport="cookie", headers=browser(), otp=app.next_code())
    assert (second.status_code, "Set-Cookie" in second.headers) == (200, True)


@stacks.anywhere
def test_secrets_are_sealed_under_the_keys_secret(make_issuer: Callable[..., IssuerApp]) -> None:
    """No spelling of the secret is in the database; without `keys_secret` it is, in development."""
    issuer = make_issuer(keys_secret=SECRET)
    app = enrol_app(issuer)
    raw = base64.b32decode(app.totp.secret)
    (row,) = issuer.rows("factors")
    assert raw not in row["secret"]
    assert app.totp.secret.encode() not in row["secret"]
    assert granted(issuer.login(otp=app.next_code()))
    for other in (FactorSeal("another secret altogether"), FactorSeal(None)):
        with pytest.raises(FactorUnreadable):
            other.open(row["secret"], f"{row['account_id']}/{row['id']}")
    seal = FactorSeal(SECRET)
    assert seal.open(row["secret"], f"{row['account_id']}/{row['id']}") == raw
    for moved in (f"{row['account_id']}/{'A' * 22}", f"other/{row['id']}"):
        with pytest.raises(FactorUnreadable):
            seal.open(row["secret"], moved)
    with pytest.raises(FactorUnreadable):
        seal.open(FactorSeal(None).close(raw, "x"), "x")


@stacks.anywhere
def test_a_secret_that_does_not_open_lets_nobody_in(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """503, and not the password alone; recovery codes need no secret and go on working."""
    app = enrol_app(make_issuer(keys_secret=SECRET))
    codes = granted(ask(app.issuer, "/recovery-codes", app.grant))["recovery_codes"]
    account = app.issuer.account
    other = make_issuer(keys_secret=SECRET)
    other.services.factors._seal = FactorSeal("another secret altogether")
    assert refused(other.login(otp=app.code()), 503, "temporarily_unavailable")
    assert refused(other.login(), 401, "factor_required")
    assert granted(other.login(recovery_code=codes[0]))
    assert account.id == other.account.id


def other_device(app: App) -> None:
    """A passkey beside the app."""
    enrol_passkey(app.issuer, passkey(), app.grant, otp=app.next_code())


@stacks.anywhere
def test_any_of_several_factors_will_do(issuer: IssuerApp) -> None:
    """Each is told, each is enough."""
    app = enrol_app(issuer)
    other_device(app)
    answer = issuer.login()
    assert challenged(answer)["allowCredentials"]
    assert answer.get_json()["factors"] == ["totp", "webauthn"]
    assert granted(issuer.login(otp=app.next_code()))
