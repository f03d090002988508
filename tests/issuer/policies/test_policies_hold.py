"""What a policy asks of a login and of every refresh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness import stacks
from harness.elevated import HARDWARE, elevate, start
from harness.factors import enrol_app
from harness.issuer_app import (
    NEW_PASSWORD,
    PASSWORD,
    USERNAME,
    IssuerApp,
    bearer,
    claims_of,
    granted,
    refused,
)

from issuer.errors import OAuthError
from issuer.journal import Reason

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
UPDATED = FIREFOX.replace("140", "141")
CURL = "curl/8.9.1"
HOME, NEXT_DOOR, AWAY = "192.0.2.7", "192.0.2.99", "198.51.100.7"
TOO_WEAK = "insufficient_user_authentication"

Make = Callable[..., IssuerApp]
Clients = dict[str, dict[str, Any]]


@pytest.fixture
def issuer(make_issuer: Make, clients: Clients) -> IssuerApp:
    """With clients of several policies."""
    return make_issuer(clients=clients)


def test_a_login_needs_what_its_client_asks_for(issuer: IssuerApp) -> None:
    """One factor is refused by name of what is missing; two get in, with the policy's ends."""
    why = refused(issuer.login(client_id="clinic"), 403, TOO_WEAK)
    assert why == "this client asks for a second factor beside a password"
    app = enrol_app(issuer, keep=True)
    session = granted(issuer.login(client_id="clinic", otp=app.next_code()))["session"]
    assert (session["idle_expires_in"], session["absolute_expires_in"]) == (3600, 86_400)
    assert "key cannot leave" in refused(
        issuer.login(client_id="vault", otp=app.next_code()), 403, TOO_WEAK
    )


@stacks.anywhere
@pytest.mark.parametrize(
    ("amr", "clinic", "vault"),
    [
        (("pwd",), False, False),
        (("pwd", "otp", "mfa"), True, False),
        (("pwd", "swk", "user", "mfa"), True, False),
        (HARDWARE, True, True),
    ],
)
def test_the_level_decides(
    issuer: IssuerApp, amr: tuple[str, ...], clinic: bool, vault: bool
) -> None:
    """Whoever starts a session, by whatever way, is held to it."""
    for client_id, enough in (("clinic", clinic), ("vault", vault)):
        if enough:
            claims = claims_of(start(issuer, *amr, client_id=client_id)["access_token"])
            assert claims["amr"] == list(amr)
        else:
            with pytest.raises(OAuthError, match="this client asks for"):
                start(issuer, *amr, client_id=client_id)


def test_a_session_of_before_the_policy_gives_nothing(make_issuer: Make, clients: Clients) -> None:
    """It is refused at its next refresh, nothing rotates, and without the policy it goes on."""
    strict = make_issuer(clients=clients)
    del clients["clinic"]["policy"]
    lax = make_issuer(clients=clients)
    grant = lax.grant(client_id="clinic")
    strict.clock.advance_to(lax.clock.advance(60))
    for _ in range(5):
        why = refused(strict.refresh(grant["refresh_token"]), 400, "invalid_grant")
        assert why == "this client asks for a second factor beside a password; log in again"
    assert granted(lax.refresh(grant["refresh_token"]))


def refresh_from(issuer: IssuerApp, token: str, agent: str, address: str = HOME) -> Any:
    return issuer.post(
        "/refresh",
        {"refresh_token": token},
        headers={"User-Agent": agent},
        environ_base={"REMOTE_ADDR": address},
    )


def login_from(issuer: IssuerApp, client_id: str) -> dict[str, Any]:
    body = {
        "username": USERNAME,
        "password": PASSWORD,
        "transport": "body",
        "client_id": client_id,
    }
    return granted(
        issuer.post(
            "/login",
            body,
            headers={"User-Agent": FIREFOX},
            environ_base={"REMOTE_ADDR": HOME},
        )
    )


@pytest.mark.parametrize(
    ("binding", "agent", "address", "stays"),
    [
        (["user_agent"], UPDATED, AWAY, True),
        (["user_agent"], CURL, HOME, False),
        (["network"], CURL, NEXT_DOOR, True),
        (["network"], FIREFOX, AWAY, False),
        (["user_agent", "network"], UPDATED, NEXT_DOOR, True),
        ([], CURL, AWAY, True),
    ],
)
@stacks.anywhere
def test_a_session_stays_on_its_device(
    make_issuer: Make,
    clients: Clients,
    binding: list[str],
    agent: str,
    address: str,
    stays: bool,
) -> None:
    """What a policy binds it to may not change; it ends, at gateways too, where it does."""
    clients["demo"]["binding"] = binding
    issuer = make_issuer(clients=clients)
    grant = login_from(issuer, "demo")
    answer = refresh_from(issuer, grant["refresh_token"], agent, address)
    if stays:
        granted(answer)
        assert issuer.rows("journal") == []
        return
    assert "another device" in refused(answer, 400, "invalid_grant")
    (row,) = issuer.rows("journal")
    assert (row["reason"], row["value"]) == (Reason.DEVICE, grant["session"]["sid"])
    refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
    again = refresh_from(issuer, grant["refresh_token"], FIREFOX)
    assert "has been ended" in refused(again, 400, "invalid_grant")


@stacks.anywhere
def test_an_elevation_is_no_way_to_another_device(make_issuer: Make, clients: Clients) -> None:
    """It is held to the binding as a refresh is."""
    clients["demo"]["binding"] = ["user_agent"]
    issuer = make_issuer(clients=clients)
    grant = login_from(issuer, "demo")
    headers = {**bearer(grant["access_token"]), "User-Agent": CURL}
    answer = issuer.post("/elevate", {"current_password": PASSWORD}, headers=headers)
    assert "another device" in refused(answer, 400, "invalid_grant")
    refused(refresh_from(issuer, grant["refresh_token"], FIREFOX), 400, "invalid_grant")


@pytest.mark.parametrize("path", ["/factors/recovery-codes", "/password"])
@stacks.anywhere
def test_a_change_is_no_way_to_another_device(
    make_issuer: Make, clients: Clients, path: str
) -> None:
    """Either gives a new session, which a thief of an access token would have on his own device."""
    clients["demo"]["binding"] = ["user_agent"]
    issuer = make_issuer(clients=clients)
    grant = enrol_app(issuer).grant
    headers = {**bearer(grant["access_token"]), "User-Agent": CURL}
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    if path != "/password":
        body = {}
    answer = issuer.post(path, body, headers=headers)
    assert "another device" in refused(answer, 400, "invalid_grant")
    assert issuer.rows("recovery_codes") == []
    assert issuer.rows("journal")[-1]["reason"] == Reason.DEVICE
    refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")


@stacks.anywhere
def test_a_client_has_a_limit_of_sessions_of_its_own(make_issuer: Make, clients: Clients) -> None:
    """The one without activity for longest ends; sessions at other clients are left alone."""
    clients["demo"]["sessions"] = 2
    issuer = make_issuer(clients=clients)
    grants = [issuer.grant(client_id="kiosk")]
    for _ in range(3):
        issuer.clock.advance(20)
        grants.append(issuer.grant())
    kept = {grant["session"]["sid"] for grant in (grants[0], *grants[2:])}
    found = granted(issuer.sessions(grants[-1]["access_token"]))["sessions"]
    assert {each["sid"] for each in found} == kept


@stacks.anywhere
def test_a_change_of_password_needs_a_recent_login(make_issuer: Make, clients: Clients) -> None:
    """ASVS 7.5.1: too old a login is challenged (RFC 9470), and an elevation makes up for it."""
    clients["demo"]["reauthenticate"] = 200
    issuer = make_issuer(clients=clients)
    grant = issuer.grant()
    issuer.clock.advance(200)
    fresh = issuer.grant()
    granted(issuer.change_password(grant["access_token"], PASSWORD, NEW_PASSWORD))
    grant = issuer.grant(password=NEW_PASSWORD)
    issuer.clock.advance(201)
    late = issuer.change_password(grant["access_token"], NEW_PASSWORD, PASSWORD)
    refused(late, 401, TOO_WEAK)
    assert late.headers["WWW-Authenticate"].endswith(', max_age="200"')
    raised = granted(elevate(issuer, grant["access_token"], current_password=NEW_PASSWORD))
    granted(issuer.change_password(raised["access_token"], NEW_PASSWORD, PASSWORD))
    refused(issuer.sessions(fresh["access_token"]), 401, "invalid_token")


@stacks.anywhere
@pytest.mark.parametrize(("reauthenticate", "age", "status"), [(200, 201, 401), (0, 201, 200)])
def test_a_change_of_factors_goes_by_the_stricter_rule(
    make_issuer: Make, clients: Clients, reauthenticate: int, age: int, status: int
) -> None:
    """A login of 201 seconds is young enough by itself, and not at a client that wants 200."""
    clients["demo"]["reauthenticate"] = reauthenticate
    issuer = make_issuer(clients=clients)
    grant = issuer.grant()
    issuer.clock.advance(age)
    begun = issuer.post("/factors/totp", {}, headers=bearer(grant["access_token"]))
    assert begun.status_code == status
    if status == 401:
        assert begun.headers["WWW-Authenticate"].endswith(', max_age="200"')


@stacks.anywhere
def test_a_change_of_password_keeps_what_was_proved(issuer: IssuerApp) -> None:
    """The new session has the methods of the login, and its time, so that it is still enough."""
    app = enrol_app(issuer, keep=True)
    grant = issuer.grant(client_id="clinic", otp=app.next_code())
    issuer.clock.advance(30)
    new = granted(issuer.change_password(grant["access_token"]))
    before, after = claims_of(grant["access_token"]), claims_of(new["access_token"])
    for name in ("amr", "acr", "auth_time", "client_id"):
        assert after[name] == before[name], name
    assert granted(issuer.refresh(new["refresh_token"]))


@stacks.anywhere
def test_an_elevation_has_to_be_enough_for_the_policy_too(issuer: IssuerApp) -> None:
    """A password alone elevates nobody where the login takes two factors."""
    grant = start(issuer, "pwd", "otp", "mfa", client_id="clinic")
    why = refused(elevate(issuer, grant["access_token"], scope="pay"), 403, TOO_WEAK)
    assert "second factor" in why
    app = enrol_app(issuer, keep=True)
    raised = granted(elevate(issuer, grant["access_token"], scope="pay", otp=app.next_code()))
    assert raised["session"]["elevated_expires_in"] == 600
