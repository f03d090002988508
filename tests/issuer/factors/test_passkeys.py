"""Passkeys: both ceremonies of Web Authentication, with an authenticator in software."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from harness import stacks
from harness.authenticator import BE, BS, UP, UV, Authenticator
from harness.factors import ask, authenticator, begin_passkey, challenged, enrol_passkey
from harness.issuer_app import (
    OTHER_ORIGIN,
    PASSWORD,
    RP_ID,
    IssuerApp,
    bearer,
    claims_of,
    granted,
    refused,
)
from harness.limits import OFF

from issuer.factors.passkeys import RelyingParty
from issuer.factors.sql_factors import SqlFactors
from issuer.settings import SettingsError

Change = Callable[[Authenticator], object]


def signed_in(issuer: IssuerApp, device: Authenticator) -> dict[str, Any]:
    """The claims after a login with a passkey."""
    answer = issuer.login(webauthn=device.get(challenged(issuer.login())))
    return claims_of(granted(answer)["access_token"])


@stacks.both_databases
def test_a_passkey_beside_the_password_is_two_factors(issuer: IssuerApp) -> None:
    """Registered, then used; `amr` says that the key cannot be copied and the person was there."""
    device = authenticator()
    done = enrol_passkey(issuer, device)
    assert done["factor"]["kind"] == "webauthn"
    for claims in (claims_of(done["access_token"]), signed_in(issuer, device)):
        assert (claims["amr"], claims["acr"]) == (["pwd", "hwk", "user", "mfa"], "aal3")
    (row,) = issuer.rows("factors")
    assert (row["sign_count"], row["user_verified"]) == (1, True)
    assert row["transports"] == ["internal", "usb"]


@stacks.anywhere
def test_a_key_that_can_be_copied_is_one_in_software(issuer: IssuerApp) -> None:
    """Passkeys that are synced say so, and count always 0."""
    device = authenticator(flags=UP | UV | BE | BS, step=0)
    done = enrol_passkey(issuer, device)
    assert done["factor"]["synced"] is True
    for _ in range(2):
        claims = signed_in(issuer, device)
        assert (claims["amr"], claims["acr"]) == (["pwd", "swk", "user", "mfa"], "aal2")


@stacks.anywhere
def test_options_ask_for_the_person_and_nothing_more(issuer: IssuerApp) -> None:
    """User verification is required in both; no attestation; what is enrolled is excluded."""
    grant = issuer.grant()
    options = begin_passkey(issuer, grant)
    assert options["rp"] == {"id": RP_ID, "name": "Gatepass"}
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["attestation"] == "none"
    # The user handle is no personal datum (section 14.6.1).
    handle = base64.urlsafe_b64decode(options["user"]["id"] + "==").decode()
    assert handle == issuer.account.id
    device = authenticator()
    done = enrol_passkey(issuer, device, grant)
    asked = challenged(issuer.login())
    assert (asked["rpId"], asked["userVerification"]) == (RP_ID, "required")
    name = device.create(options)["id"]
    assert [one["id"] for one in asked["allowCredentials"]] == [name]
    given = {"webauthn": device.get(challenged(issuer.login()))}
    again = begin_passkey(issuer, done, **given)
    assert [one["id"] for one in again["excludeCredentials"]] == [name]


WRONG: dict[str, Change] = {
    "another origin": lambda device: setattr(device, "origin", "https://evil.example"),
    "another scheme": lambda device: setattr(device, "origin", f"https://{RP_ID}:3000"),
    "the issuer's address": lambda device: setattr(device, "origin", "http://127.0.0.1:8000"),
    "another domain": lambda device: setattr(device, "rp_id", "evil.example"),
    "a domain above": lambda device: setattr(device, "rp_id", "example"),
    "nobody verified": lambda device: setattr(device, "flags", UP),
    "nobody there": lambda device: setattr(device, "flags", UV),
    "flags that contradict": lambda device: setattr(device, "flags", UP | UV | BS),
    "in a frame of another": lambda device: setattr(device, "cross_origin", True),
}


@stacks.anywhere
def test_a_registration_that_is_not_in_order_is_refused(issuer: IssuerApp) -> None:
    """Section 7.1: origin, RP id, presence and verification; nothing is enrolled."""
    grant = issuer.grant()
    for what, change in WRONG.items():
        device = authenticator()
        change(device)
        made = device.create(begin_passkey(issuer, grant))
        answer = ask(issuer, "/webauthn/register", grant, webauthn=made)
        assert answer.get_json()["error"] == "factor_refused", what
    assert issuer.rows("factors") == []


@stacks.anywhere
def test_an_assertion_that_is_not_in_order_is_refused(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """Section 7.2: the same again, and with it the challenge is spent."""
    issuer = make_issuer(limits=OFF)
    own = authenticator()
    enrol_passkey(issuer, own)
    for what, change in WRONG.items():
        options = challenged(issuer.login())
        right = own.get(options)
        device = replace(own)
        change(device)
        answer = issuer.login(webauthn=device.get(options))
        assert answer.get_json()["error"] == "factor_refused", what
        if device.cross_origin is None:
            again = issuer.login(webauthn=right)
            assert again.get_json()["error"] == "factor_refused", what


@stacks.anywhere
def test_a_signature_of_another_key_is_refused(issuer: IssuerApp) -> None:
    """A credential's name does not make it that credential."""
    device = authenticator()
    enrol_passkey(issuer, device)
    thief = authenticator(credential_id=device.credential_id, count=5)
    answer = issuer.login(webauthn=thief.get(challenged(issuer.login())))
    assert refused(answer, 400, "factor_refused")
    stranger = authenticator()
    answer = issuer.login(webauthn=stranger.get(challenged(issuer.login())))
    assert refused(answer, 400, "factor_refused")


@stacks.anywhere
def test_the_ceremonies_do_not_mix(issuer: IssuerApp) -> None:
    """An answer to one is none to the other, nor is its challenge good there."""
    device = authenticator()
    grant = issuer.grant()
    options = begin_passkey(issuer, grant)
    wrong = device.create(options, kind="webauthn.get")
    assert refused(ask(issuer, "/webauthn/register", grant, webauthn=wrong), 400, "factor_refused")
    done = enrol_passkey(issuer, device, grant)
    wrong = device.get(challenged(issuer.login()), kind="webauthn.create")
    assert refused(issuer.login(webauthn=wrong), 400, "factor_refused")
    asked = challenged(issuer.login())
    other = authenticator().create(asked)
    assert refused(ask(issuer, "/webauthn/register", done, webauthn=other), 400, "factor_refused")
    given = {"webauthn": device.get(challenged(issuer.login()))}
    enrolling = begin_passkey(issuer, done, **given)
    assert refused(issuer.login(webauthn=device.get(enrolling)), 400, "factor_refused")


@stacks.anywhere
def test_a_count_that_does_not_rise_is_refused(issuer: IssuerApp) -> None:
    """The sign of a copied key (section 6.1.1): the same count again, or one below."""
    device = authenticator()
    enrol_passkey(issuer, device)
    signed_in(issuer, device)
    for count in (0, -1):
        device.count = count
        answer = issuer.login(webauthn=device.get(challenged(issuer.login())))
        assert refused(answer, 400, "factor_refused")
    device.count = 1
    signed_in(issuer, device)


@stacks.anywhere
@pytest.mark.parametrize(("late", "status"), [(299, 200), (300, 400)])
def test_a_challenge_waits_five_minutes(issuer: IssuerApp, late: int, status: int) -> None:
    """Then the person asks again."""
    device = authenticator()
    enrol_passkey(issuer, device)
    answer = device.get(challenged(issuer.login()))
    issuer.clock.advance(late)
    assert issuer.login(webauthn=answer).status_code == status
    # Those that nobody answered are forgotten when another begins.
    issuer.clock.advance(300)
    issuer.login()
    assert len(issuer.rows("factor_challenges")) == 1


@stacks.anywhere
def test_a_challenge_is_one_persons(issuer: IssuerApp) -> None:
    """Another's session, account or login cannot answer it; the database holds its digest."""
    device, theirs = authenticator(), authenticator()
    grant = issuer.grant()
    options = begin_passkey(issuer, grant)
    made = device.create(options)
    other = ask(issuer, "/webauthn/register", issuer.grant(), webauthn=made)
    assert refused(other, 400, "factor_refused")
    assert options["challenge"] not in repr(issuer.rows("factor_challenges"))
    granted(ask(issuer, "/webauthn/register", grant, webauthn=made))
    issuer.services.accounts.add("bob", PASSWORD)
    enrol_passkey(issuer, theirs, issuer.grant(username="bob"))
    bobs = challenged(issuer.login("bob"))
    assert refused(issuer.login(webauthn=device.get(bobs)), 400, "factor_refused")
    assert granted(issuer.login("bob", webauthn=theirs.get(bobs)))


@stacks.both_databases
def test_a_credential_is_enrolled_once(issuer: IssuerApp) -> None:
    """Neither twice nor by two people."""
    device = authenticator()
    enrol_passkey(issuer, device)
    issuer.services.accounts.add("bob", PASSWORD)
    bob = issuer.grant(username="bob")
    made = device.create(begin_passkey(issuer, bob))
    assert refused(ask(issuer, "/webauthn/register", bob, webauthn=made), 409, "conflict")
    assert issuer.sessions(bob["access_token"]).status_code == 200


@stacks.anywhere
def test_an_issuer_with_an_address_alone_has_no_passkeys(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """An address is no domain; those that were enrolled before are not asked for either."""
    device = authenticator()
    enrol_passkey(make_issuer(), device)
    issuer = make_issuer(factors={})
    assert refused(issuer.login(), 401, "factor_required")
    assert issuer.login().get_json()["factors"] == []
    assert refused(issuer.login(webauthn={"id": "x"}), 400, "factor_refused")
    issuer.services.accounts.add("bob", PASSWORD)
    answer = ask(issuer, "/webauthn/options", issuer.grant(username="bob"))
    assert refused(answer, 404, "not_found")
    with pytest.raises(SettingsError, match=r"factors\.rp_id"):
        make_issuer(factors={"rp_id": "elsewhere.example"})


def test_origins_are_those_at_or_below_the_domain() -> None:
    """Whole labels are compared, so that no neighbour's domain ends alike."""
    origins = [
        "https://example.org",
        "https://login.example.org:8443",
        "https://notexample.org",
        "https://example.org.evil.test",
        "http://127.0.0.1:8000",
    ]
    assert RelyingParty("example.org", origins, "x").origins == origins[:2]


# Mutants: what must happen once happens twice, or is not looked at


def every_time(*_: object) -> bool:
    """A conditional write that is none."""
    return True


@stacks.anywhere
def test_a_challenge_that_is_not_spent_would_be_seen(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutant: an answer that was overheard would log in again, were it not for the challenge."""
    device = authenticator(step=0)
    enrol_passkey(issuer, device)
    answer = device.get(challenged(issuer.login()))
    assert granted(issuer.login(webauthn=answer))
    assert refused(issuer.login(webauthn=answer), 400, "factor_refused")
    monkeypatch.setattr(SqlFactors, "answer", every_time)
    assert granted(issuer.login(webauthn=answer))


@stacks.anywhere
def test_the_tests_origin_is_a_page_of_the_issuers(issuer: IssuerApp) -> None:
    """What these tests call right is what the settings say."""
    relying_party = issuer.services.factors.relying_party
    assert relying_party is not None
    assert relying_party.origins == [OTHER_ORIGIN]
    assert issuer.ask("GET", "/factors", headers=bearer("x")).status_code == 401
