"""POST /login."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from harness import stacks
from harness.issuer_app import (
    ABSOLUTE,
    ACCESS_LIFETIME,
    IDLE,
    ISSUER,
    PASSWORD,
    USERNAME,
    IssuerApp,
    basic,
    claims_of,
    granted,
    refused,
    same_headers,
)
from structlog.testing import capture_logs

from issuer.accounts import Account, HashingBusy, PasswordHasher
from issuer.families import Family, NewFamily

WRONG = "user name or password is wrong"


@stacks.everywhere
def test_a_login_answers_tokens_and_the_time_that_is_left(issuer: IssuerApp) -> None:
    """The answer of body mode has both tokens, their lifetimes, and the session's two ends."""
    grant = issuer.grant()
    assert grant.keys() == {
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "scope",
        "session",
    }
    assert (grant["token_type"], grant["expires_in"]) == ("Bearer", ACCESS_LIFETIME)
    assert grant["scope"] == "read write"
    assert grant["session"]["idle_expires_in"] == IDLE
    assert grant["session"]["absolute_expires_in"] == ABSOLUTE


def test_the_access_token_says_who_where_and_until_when(issuer: IssuerApp) -> None:
    """Every claim of the access token is the account's, the client's or the clock's."""
    grant = issuer.grant()
    claims = claims_of(grant["access_token"])
    now = int(issuer.clock())
    random = {name: claims.pop(name) for name in ("jti", "sid")}
    assert random["sid"] == grant["session"]["sid"] != random["jti"]
    assert claims == {
        "iss": ISSUER,
        "sub": issuer.account.id,
        "aud": "api",
        "client_id": "demo",
        "iat": now,
        "exp": now + ACCESS_LIFETIME,
        "auth_time": now,
        "sub_ver": 1,
        "amr": ["pwd"],
        "scope": "read write",
        "roles": ["admin", "staff"],
        "acr": "aal1",
    }


def test_the_refresh_token_ends_at_the_absolute_end(issuer: IssuerApp) -> None:
    """A refresh token's `exp` is the session's absolute end, and its generation the first."""
    claims = issuer.opened(issuer.grant()["refresh_token"])
    assert (claims.gen, claims.exp) == (1, int(issuer.clock()) + ABSOLUTE)


def test_no_answer_may_be_stored(issuer: IssuerApp) -> None:
    """An answer with tokens forbids caching and sniffing."""
    headers = issuer.login().headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "Strict-Transport-Security" not in headers


def test_https_is_held_to(make_issuer: Callable[..., IssuerApp]) -> None:
    """An issuer behind https:// tells browsers to stay there."""
    answer = make_issuer(issuer="https://login.example").login()
    assert "max-age=63072000" in answer.headers["Strict-Transport-Security"]


def test_every_login_is_a_session_of_its_own(issuer: IssuerApp) -> None:
    """Two logins share neither `sid` nor `jti`."""
    first, second = (claims_of(issuer.grant()["access_token"]) for _ in range(2))
    assert first["sid"] != second["sid"]
    assert first["jti"] != second["jti"]


def test_a_wrong_login_never_says_what_was_wrong(issuer: IssuerApp) -> None:
    """Unknown name, wrong password and disabled account get the same answer to the byte."""
    issuer.services.accounts.add("bob", "quite another phrase 17")
    bob = issuer.services.accounts.by_username("bob")
    assert bob is not None
    issuer.services.accounts.set_enabled(bob.id, False, expires=0)
    answers = [
        issuer.login("nobody", PASSWORD),
        issuer.login(USERNAME, "wrong"),
        issuer.login("bob", "quite another phrase 17"),
    ]
    assert refused(answers[0], 400, "invalid_grant") == WRONG
    assert len({answer.data for answer in answers}) == 1
    assert len({same_headers(answer) for answer in answers}) == 1


def test_a_wrong_login_always_costs_one_hash(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown name takes as many hashes as a known one, so that time tells nothing."""
    hashes: list[str] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, password_hash: str, password: str, source: str) -> None:
        hashes.append(password_hash)
        verify(self, password_hash, password, source)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    issuer.services.accounts.add("bob", "quite another phrase 17")
    bob = issuer.services.accounts.by_username("bob")
    assert bob is not None
    issuer.services.accounts.set_enabled(bob.id, False, expires=0)
    costs = []
    for username in ("nobody", USERNAME, "bob"):
        hashes.clear()
        issuer.login(username, "wrong password")
        costs.append(len(hashes))
    assert costs == [1, 1, 1]


def test_the_dummy_hash_costs_as_much_as_a_real_one(issuer: IssuerApp) -> None:
    """The hash that unknown names are held against was made under the same parameters."""
    hasher = issuer.services.accounts._hasher
    assert hasher._dummy.split("$")[:4] == issuer.account.password_hash.split("$")[:4]


@pytest.mark.parametrize("username", [USERNAME.upper(), f" {USERNAME} ", "\uff41lice@example.org"])
@stacks.anywhere
def test_spellings_of_one_name_are_one_account(issuer: IssuerApp, username: str) -> None:
    """Case, surrounding spaces and compatibility forms of a user name do not matter."""
    grant = issuer.grant(username=username)
    assert claims_of(grant["access_token"])["sub"] == issuer.account.id


@stacks.anywhere
def test_one_password_typed_on_two_keyboards_is_one(issuer: IssuerApp) -> None:
    """Composed and decomposed characters of a password are the same."""
    password = "naïve Ångström façade 9"
    issuer.services.accounts.add("bob", unicodedata.normalize("NFD", password))
    issuer.grant(username="bob", password=unicodedata.normalize("NFC", password))


@stacks.anywhere
def test_a_login_with_outdated_hashing_renews_the_hash_and_no_version(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """After new parameters a login stores a new hash, and every session lives on."""
    before = make_issuer()
    grant = before.grant()
    old = before.services.accounts.by_id(before.account.id)
    hashing = {"time_cost": 2, "memory_cost": 16, "parallelism": 1, "concurrency": 2}
    make_issuer(hashing=hashing).grant()
    new = before.services.accounts.by_id(before.account.id)
    assert old is not None
    assert new is not None
    assert new.password_hash != old.password_hash
    assert "m=16,t=2,p=1" in new.password_hash
    assert (new.credential_version, new.sub_ver) == (old.credential_version, old.sub_ver)
    assert granted(before.refresh(grant["refresh_token"]))


@stacks.anywhere
def test_too_many_logins_at_once_are_told_to_come_back(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hasher without a free slot answers 503 with Retry-After."""

    def busy(account: Account, password: str, source: str) -> None:
        raise HashingBusy("busy")

    monkeypatch.setattr(issuer.services.accounts, "verify", busy)
    answer = issuer.login()
    refused(answer, 503, "temporarily_unavailable")
    assert answer.headers["Retry-After"] == "1"


def test_an_unknown_client_is_refused(issuer: IssuerApp) -> None:
    """A login names a configured client."""
    refused(issuer.login(client_id="nobody's"), 400, "invalid_client")


def test_a_client_without_idle_end_says_so(issuer: IssuerApp) -> None:
    """Where a client has no idle end, the answer's `idle_expires_in` is null."""
    session = issuer.grant(client_id="kiosk")["session"]
    assert (session["idle_expires_in"], session["absolute_expires_in"]) == (None, 7200)


def test_a_confidential_client_authenticates_to_log_people_in(issuer: IssuerApp) -> None:
    """Login and refresh for a confidential client need its secret (RFC 6749 section 3.2.1)."""
    refused(issuer.login(client_id="backend"), 401, "invalid_client")
    refused(issuer.login(client_id="backend", headers=basic("rs")), 401, "invalid_client")
    wrong = basic("backend", "wrong")
    refused(issuer.login(client_id="backend", headers=wrong), 401, "invalid_client")
    grant = issuer.grant(client_id="backend", headers=basic("backend"))
    token = grant["refresh_token"]
    refused(issuer.refresh(token), 401, "invalid_client")
    body = {"refresh_token": token}
    assert issuer.post("/refresh", body, headers=basic("backend")).status_code == 200


@stacks.everywhere
def test_a_change_during_a_login_ends_it(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password that changes after it was checked gives no session to who knew the old one."""
    create = issuer.services.families.create
    made: list[Family] = []

    def overtaken(new: NewFamily, **given: Any) -> Family:
        made.append(create(new))
        issuer.services.accounts.raise_versions(new.sub, expires=0, reason="version")
        return made[0]

    monkeypatch.setattr(issuer.services.families, "create", overtaken)
    refused(issuer.login(), 400, "invalid_grant")
    assert issuer.services.families.of_subject(issuer.account.id) == []
    assert issuer.services.families.get(issuer.account.id, made[0].sid) is not None


def test_a_person_sees_the_device_that_logged_in(issuer: IssuerApp) -> None:
    """Label, address and user agent are kept, cut to length and without control characters."""
    agent = "Agent\x07 " + "x" * 400
    headers = {"User-Agent": agent}
    token = issuer.grant(label="Kitchen tablet", headers=headers)["access_token"]
    (session,) = granted(issuer.sessions(token))["sessions"]
    assert session["label"] == "Kitchen tablet"
    assert session["address"] == "127.0.0.1"
    assert session["user_agent"] == ("Agent " + "x" * 400)[:256]


@stacks.anywhere
def test_no_log_line_holds_a_secret(issuer: IssuerApp) -> None:
    """Neither password nor token reaches the log, whether or not it was right."""
    with capture_logs() as lines:
        grant = issuer.grant()
        issuer.login(password="wrong secret 1234")
        issuer.refresh(grant["refresh_token"])
        issuer.refresh(grant["refresh_token"][:-4] + "AAAA")
        issuer.change_password(grant["access_token"])
    text = repr(lines)
    assert len(lines) >= 5
    for secret in (PASSWORD, "wrong secret 1234", grant["refresh_token"], grant["access_token"]):
        assert secret not in text
    assert USERNAME not in text
