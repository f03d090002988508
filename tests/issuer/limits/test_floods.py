"""Floods of refreshes, resets and requests: what is refused, and what it leaves alone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from harness import stacks
from harness.issuer_app import USERNAME, IssuerApp, bearer, browser, granted
from harness.limits import HOME, attempt, elsewhere, limits, log_in, pass_time, statuses, wait_of
from werkzeug.test import TestResponse

Make = Callable[..., IssuerApp]
on_one_redis = pytest.mark.parametrize("stack", ["sqlite-redis"], indirect=True)


def refresh(issuer: IssuerApp, token: str, address: str = HOME) -> TestResponse:
    """One refresh in body mode from an address."""
    return issuer.post("/refresh", {"refresh_token": token}, environ_base={"REMOTE_ADDR": address})


def forgot(issuer: IssuerApp, address: str, username: str = USERNAME) -> TestResponse:
    """Ask for a reset from an address, and let it be delivered."""
    options = {"environ_base": {"REMOTE_ADDR": address}}
    answer = issuer.post("/password/forgot", {"username": username}, **options)
    issuer.deliver()
    return answer


@stacks.both_stores
def test_a_flood_of_refreshes_harms_no_session(make_issuer: Make) -> None:
    """One session is refreshed so often and no more, wherever it comes from; another goes on."""
    issuer = make_issuer(limits=limits(refreshes_session="5 per minute"))
    token, other = (granted(log_in(issuer))["refresh_token"] for _ in range(2))
    answers = [refresh(issuer, token, elsewhere(number)) for number in range(8)]
    assert statuses(answers) == [200] * 5 + [429] * 3
    assert 50 <= wait_of(answers[-1]) <= 60
    assert refresh(issuer, other).status_code == 200
    (family,) = [
        family
        for family in issuer.services.families.of_subject(issuer.account.id)
        if family.sid == issuer.opened(token).sid
    ]
    assert family.gen == 1
    access = granted(log_in(issuer))["access_token"]
    assert len(issuer.sessions(access).get_json()["sessions"]) == 3


@on_one_redis
def test_after_the_flood_the_session_goes_on(make_issuer: Make, store_url: str) -> None:
    """The token that was refused works when the time has come that the answer named."""
    issuer = make_issuer(limits=limits(refreshes_session="2 per minute"))
    token = granted(log_in(issuer))["refresh_token"]
    assert statuses([refresh(issuer, token) for _ in range(3)]) == [200, 200, 429]
    wait = wait_of(refresh(issuer, token))
    pass_time(store_url, wait)
    issuer.clock.advance(wait)
    assert refresh(issuer, token).status_code == 200


@stacks.anywhere
def test_a_refused_refresh_leaves_the_cookie_alone(make_issuer: Make) -> None:
    """429 sets no cookie, nor takes one away."""
    issuer = make_issuer(limits=limits(refreshes_session="1 per minute"))
    token = granted(log_in(issuer))["refresh_token"]
    assert issuer.post("/refresh", headers=browser(token)).status_code == 200
    wait_of(issuer.post("/refresh", headers=browser(token)))


@stacks.both_stores
def test_worthless_refresh_tokens_are_limited_and_good_ones_are_not(make_issuer: Make) -> None:
    """By address: forged and ended ones are told to wait, a neighbour's session goes on."""
    issuer = make_issuer(limits=limits(refreshes_refused="5 per minute"))
    good, ended = (granted(log_in(issuer))["refresh_token"] for _ in range(2))
    granted(issuer.logout(ended))
    answers = [refresh(issuer, token) for token in ["forged", ended] * 4]
    assert statuses(answers) == [400] * 5 + [429] * 3
    assert refresh(issuer, good).status_code == 200
    assert refresh(issuer, "forged", elsewhere(1)).status_code == 400


@stacks.anywhere
def test_the_defaults_do_not_notice_an_honest_browser(issuer: IssuerApp) -> None:
    """Twelve tabs restored at once, each answer lost twice, and reloaded a moment later."""
    token = granted(log_in(issuer))["refresh_token"]
    for _ in range(3):
        answers = [refresh(issuer, token) for _ in range(12 * 3)]
        assert set(statuses(answers)) == {200}
        token = answers[-1].get_json()["refresh_token"]
        issuer.clock.advance(10)


@stacks.both_stores
def test_resets_are_limited_by_who_asks(make_issuer: Make) -> None:
    """From one network an account's owner is mailed so often; the answer says so."""
    issuer = make_issuer(limits=limits(resets_account_network="3 per hour"))
    answers = [forgot(issuer, HOME) for _ in range(5)]
    assert statuses(answers) == [202] * 3 + [429] * 2
    assert 3500 < wait_of(answers[-1]) <= 3600
    assert len(issuer.sent) == 3


@stacks.both_stores
def test_resets_are_limited_by_account_without_telling(make_issuer: Make) -> None:
    """From many networks too much mail is not sent, to nobody's knowledge; its owner gets his."""
    issuer = make_issuer(limits=limits(resets_account="3 per hour"))
    assert log_in(issuer).status_code == 200
    name = "nobody@example.org"
    for who in (USERNAME, name):
        answers = [forgot(issuer, elsewhere(number), who) for number in range(6)]
        assert statuses(answers) == [202] * 6
    assert len(issuer.sent) == 3
    assert forgot(issuer, HOME).status_code == 202
    assert len(issuer.sent) == 4, "where the account is known, it is sent"


@stacks.anywhere
def test_resets_of_many_accounts_from_one_address_are_limited(issuer: IssuerApp) -> None:
    """Names that nobody has are counted like any other."""
    names = [f"person{number}@example.org" for number in range(22)]
    answers = [forgot(issuer, HOME, name) for name in names]
    assert statuses(answers) == [202] * 20 + [429] * 2


@stacks.both_stores
def test_requests_with_something_secret_share_the_outer_net(make_issuer: Make) -> None:
    """Whatever becomes of them; what must always work, such as the logout, is not in it."""
    issuer = make_issuer(limits=limits(requests="5 per minute"))
    grant = granted(log_in(issuer, "127.0.0.1"))
    mixed = [
        issuer.post("/password/reset", {"token": "x", "new_password": "y"}),
        issuer.post("/password/forgot", {"username": "x"}),
        issuer.post("/login", {}),
        issuer.post("/password", {}),
    ]
    assert statuses(mixed) == [400, 202, 400, 400]
    for path in ("/login", "/password", "/password/forgot", "/password/reset"):
        assert 50 <= wait_of(issuer.post(path, {})) <= 60
    assert issuer.sessions(grant["access_token"]).status_code == 200
    assert issuer.ask("GET", "/healthz").status_code == 200
    assert refresh(issuer, grant["refresh_token"], "127.0.0.1").status_code == 200
    assert issuer.logout(grant["refresh_token"]).status_code == 200
    assert log_in(issuer, elsewhere(1)).status_code == 200


@stacks.anywhere
def test_429_comes_where_the_document_says_so(make_issuer: Make) -> None:
    """And nowhere else: what lets people out, and what gateways ask, has no limit."""
    once = "1 per minute"
    issuer = make_issuer(limits=limits(requests=once, refreshes_refused=once))
    paths = granted(issuer.ask("GET", "/openapi.json"))["paths"]
    limited = {
        path
        for path, item in paths.items()
        for operation in item.values()
        if isinstance(operation, dict) and "429" in operation.get("responses", {})
    }
    refused = set()
    for path in paths:
        filled = re.sub(r"\{.*\}", "A" * 22, path)
        body = {"refresh_token": "x"}
        method = "DELETE" if path == "/factors/{factor_id}" else "POST"
        asked = {"json": body, "headers": bearer("x")}
        answers = [issuer.ask(method, filled, **asked) for _ in range(2)]
        if 429 in statuses(answers):
            refused.add(path)
    assert refused == limited


@stacks.anywhere
def test_a_limit_that_is_empty_is_off(make_issuer: Make) -> None:
    """Nothing is refused, nothing is counted."""
    issuer = make_issuer(limits=limits())
    assert {attempt(issuer, HOME).status_code for _ in range(30)} == {400}
    token = granted(log_in(issuer))["refresh_token"]
    assert {refresh(issuer, token).status_code for _ in range(130)} == {200}
