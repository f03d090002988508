"""Codes of authenticator apps: RFC 6238's own vectors, its skew, and what is no code at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from freezegun import freeze_time
from harness import stacks
from harness.factors import ask, enrol_app
from harness.issuer_app import PASSWORD, IssuerApp, granted, refused
from harness.limits import OFF

from issuer.factors import factor, sql_factors
from issuer.factors.totp import PERIOD, matching_step, new_secret, otpauth_uri, spelled, step_at

SECRET = b"12345678901234567890"
# RFC 6238 appendix B, SHA-1: seconds, and the code of which six digits are the last ones.
VECTORS = [
    (59, "94287082"),
    (1111111109, "07081804"),
    (1111111111, "14050471"),
    (1234567890, "89005924"),
    (2000000000, "69279037"),
    (20000000000, "65353130"),
]
NOON = 1_800_000_000
"""A step begins here."""


@pytest.mark.parametrize(("instant", "code"), VECTORS)
def test_the_vectors_of_the_rfc(instant: int, code: str) -> None:
    """Each is the code of its own step, in six digits."""
    assert matching_step(SECRET, code[-6:], instant) == instant // PERIOD == step_at(instant)


@pytest.mark.parametrize(
    ("moment", "accepted"),
    [
        (-PERIOD - 1, False),
        (-PERIOD, True),
        (-1, True),
        (0, True),
        (PERIOD - 1, True),
        (PERIOD, True),
        (2 * PERIOD - 1, True),
        (2 * PERIOD, False),
    ],
)
def test_a_code_is_good_for_one_step_to_either_side(moment: int, accepted: bool) -> None:
    """The code of noon's step is accepted from a step before it to the end of the step after."""
    with freeze_time() as frozen:
        frozen.move_to(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOON)))
        code = _code_at(NOON)
        frozen.tick(moment)
        found = matching_step(SECRET, code, time.time())
    assert found == (NOON // PERIOD if accepted else None)


def _code_at(instant: int) -> str:
    return pyotp.TOTP(spelled(SECRET)).at(instant)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "12345",
        "1234567",
        "abcdef",
        "-12345",
        "+12345",
        "1234.5",
        "\uff11" * 6,
        "\u0660" * 6,
        "123456\n",
        "123\t456",
        "123456" * 1000,
    ],
)
def test_what_is_no_code_is_compared_with_nothing(text: str) -> None:
    """Six ASCII digits, spaces between them or not; anything else is wrong without a look."""
    assert matching_step(SECRET, text, NOON) is None


def test_spaces_are_read_over() -> None:
    """Apps show a code in two halves."""
    code = _code_at(NOON)
    assert matching_step(SECRET, f" {code[:3]} {code[3:]} ", NOON) == NOON // PERIOD


def test_a_secret_has_160_bits_of_its_own() -> None:
    """RFC 4226 section 4: as long as the hash; no two are the same."""
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    assert {len(secret) for secret in made} == {20}


def test_the_uri_says_what_apps_need() -> None:
    """Issuer, account and secret; nothing else that an app could get wrong."""
    parts = urlsplit(otpauth_uri(SECRET, username="zoë@example.org", name="Über Uns"))
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert parts.path == "/%C3%9Cber%20Uns:zo%C3%AB%40example.org"
    assert parse_qs(parts.query) == {"secret": [spelled(SECRET)], "issuer": ["Über Uns"]}


@stacks.both_databases
def test_a_code_is_accepted_once(issuer: IssuerApp) -> None:
    """RFC 6238 section 5.2: neither again, nor one of a step before it."""
    app = enrol_app(issuer)
    assert refused(issuer.login(otp=app.code()), 400, "factor_refused")
    code = app.next_code()
    assert granted(issuer.login(otp=code))
    assert refused(issuer.login(otp=code), 400, "factor_refused")
    assert refused(issuer.login(otp=app.code(-1)), 400, "factor_refused")
    # The one after is within the skew, and then this one is one before.
    assert granted(issuer.login(otp=app.code(1)))
    issuer.clock.advance(PERIOD)
    assert refused(issuer.login(otp=app.code()), 400, "factor_refused")


@stacks.anywhere
def test_an_app_counts_once_it_has_shown_a_code(issuer: IssuerApp) -> None:
    """Begun is not enrolled: the password goes on being enough, until the first right code."""
    grant = issuer.grant()
    begun = granted(ask(issuer, "/totp", grant, current_password=PASSWORD))
    assert granted(issuer.login())
    wrong = ask(issuer, "/totp/confirm", grant, id=begun["id"], otp="000000")
    assert refused(wrong, 400, "factor_refused")
    assert granted(issuer.login())
    code = pyotp.TOTP(begun["secret"]).at(issuer.clock())
    elsewhere = ask(issuer, "/totp/confirm", issuer.grant(), id=begun["id"], otp=code)
    assert refused(elsewhere, 404, "not_found")
    done = granted(ask(issuer, "/totp/confirm", grant, id=begun["id"], otp=code))
    assert refused(issuer.login(), 401, "factor_required")
    again = ask(issuer, "/totp/confirm", done, id=begun["id"], otp=code)
    assert refused(again, 404, "not_found")


@stacks.anywhere
@pytest.mark.parametrize(("late", "status"), [(599, 200), (600, 404)])
def test_an_enrolment_waits_ten_minutes(issuer: IssuerApp, late: int, status: int) -> None:
    """After that the secret, which somebody may have seen on a screen, is worth nothing."""
    grant = issuer.grant(client_id="kiosk")
    begun = granted(ask(issuer, "/totp", grant, current_password=PASSWORD))
    issuer.clock.advance(late)
    fresh = granted(issuer.refresh(grant["refresh_token"]))
    code = pyotp.TOTP(begun["secret"]).at(issuer.clock())
    answer = ask(issuer, "/totp/confirm", fresh, id=begun["id"], otp=code)
    assert answer.status_code == status


@stacks.both_databases
def test_a_hundred_wrong_codes_lock_the_app(
    make_issuer: Callable[..., IssuerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SP 800-63B-4 section 3.2.2, beside the limits in time; a right code begins anew before."""
    monkeypatch.setattr(factor, "MOST_FAILURES", 3)
    monkeypatch.setattr(sql_factors, "MOST_FAILURES", 3)
    issuer = make_issuer(limits=OFF)
    app = enrol_app(issuer)
    codes = granted(ask(issuer, "/recovery-codes", app.grant))["recovery_codes"]
    for _ in range(2):
        for _ in range(2):
            assert refused(issuer.login(otp="000000"), 400, "factor_refused")
        assert granted(issuer.login(otp=app.next_code()))
    for _ in range(3):
        assert refused(issuer.login(otp="000000"), 400, "factor_refused")
    assert refused(issuer.login(otp=app.next_code()), 400, "factor_refused")
    # What is left is told, and gets the person in.
    asked = issuer.login()
    assert asked.get_json()["factors"] == ["recovery_code"]
    granted(issuer.login(recovery_code=codes[0]))
