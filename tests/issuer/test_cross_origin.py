"""Pages of other origins: which may call, and what their browsers let them read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import stacks
from harness.issuer_app import (
    ISSUER,
    OTHER_ORIGIN,
    PASSWORD,
    USERNAME,
    IssuerApp,
    bearer,
    browser,
    cookie_of,
    default_clients,
    granted,
    refused,
)
from werkzeug.test import TestResponse

pytestmark = stacks.anywhere

KIOSK_ORIGIN = "https://kiosk.example"
DEMO_ORIGIN = "https://app.example"
FOREIGN = ("https://evil.example", "null", "", f"{OTHER_ORIGIN}.evil.example", f"{OTHER_ORIGIN}/")
BROWSER_PATHS = ("/login", "/refresh", "/logout", "/password", "/sessions/x", "/revoke")
NO_BROWSERS_BUSINESS = ("/introspect", "/healthz", "/.well-known/jwks.json", "/loginx")
CREDENTIALS = {"username": USERNAME, "password": PASSWORD}


@pytest.fixture
def listed(make_issuer: Callable[..., IssuerApp]) -> IssuerApp:
    """An issuer with two clients, each with pages on an origin of its own, and a common one."""
    clients = default_clients()
    clients["demo"]["origins"] = [DEMO_ORIGIN]
    clients["kiosk"]["origins"] = [KIOSK_ORIGIN]
    return make_issuer(clients=clients)


def preflight(issuer: IssuerApp, path: str, origin: str) -> TestResponse:
    """What a browser asks before it sends a request that a form could not."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return issuer.ask("OPTIONS", path, headers=headers)


def cors_of(answer: TestResponse) -> dict[str, str]:
    return {n: v for n, v in answer.headers.items() if n.startswith("Access-Control-")}


@pytest.mark.parametrize("path", BROWSER_PATHS)
@pytest.mark.parametrize("origin", [OTHER_ORIGIN, DEMO_ORIGIN, KIOSK_ORIGIN])
def test_a_listed_origin_may_ask_and_read(listed: IssuerApp, path: str, origin: str) -> None:
    """The preflight names the origin itself, lets cookies go along, and holds for ten minutes."""
    answer = preflight(listed, path, origin)
    assert answer.status_code == 204
    assert cors_of(answer) == {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET, POST, DELETE",
        "Access-Control-Allow-Headers": "Authorization, Content-Type",
        "Access-Control-Max-Age": "600",
    }
    assert "Origin" in answer.headers["Vary"]
    plain = listed.ask("POST", path, headers={"Origin": origin})
    assert cors_of(plain) == {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "Retry-After, WWW-Authenticate, X-Request-Id",
    }
    assert "Origin" in plain.headers["Vary"]


@pytest.mark.parametrize("path", BROWSER_PATHS)
@pytest.mark.parametrize("origin", FOREIGN)
def test_any_other_origin_is_told_nothing(listed: IssuerApp, path: str, origin: str) -> None:
    """No name, no star: its browser sends nothing that needs asking, and shows it no answer."""
    for answer in (
        preflight(listed, path, origin),
        listed.ask("POST", path, headers={"Origin": origin}),
        listed.ask("POST", path),
    ):
        assert cors_of(answer) == {}
        assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("path", NO_BROWSERS_BUSINESS)
def test_what_no_page_calls_is_opened_to_none(listed: IssuerApp, path: str) -> None:
    """A listed origin gets leave for a browser app's endpoints alone."""
    assert cors_of(preflight(listed, path, OTHER_ORIGIN)) == {}
    assert cors_of(listed.ask("GET", path, headers={"Origin": OTHER_ORIGIN})) == {}


def test_a_client_s_origin_uses_that_client_s_sessions_alone(listed: IssuerApp) -> None:
    """One app's page can neither log in to, nor refresh, nor end another app's session."""
    for origin, own, other in (
        (DEMO_ORIGIN, "demo", "kiosk"),
        (KIOSK_ORIGIN, "kiosk", "demo"),
    ):
        page = {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "empty"}
        body = {**CREDENTIALS, "client_id": own}
        answer = listed.post("/login", body, headers=page)
        granted(answer)
        token, _ = cookie_of(answer)
        mine = browser(token, origin, "cross-site")
        granted(listed.post("/refresh", headers=mine))
        body = {**CREDENTIALS, "client_id": other}
        refused(listed.post("/login", body, headers=page), 403, "access_denied")
        theirs = listed.post("/login", body, headers=browser())
        token, _ = cookie_of(theirs)
        stolen = browser(token, origin, "cross-site")
        for path in ("/refresh", "/logout"):
            refused(listed.post(path, headers=stolen), 403, "access_denied")
        change = {"current_password": PASSWORD, "new_password": "x" * 20, "transport": "cookie"}
        headers = {**stolen, **bearer(granted(theirs)["access_token"])}
        refused(listed.post("/password", change, headers=headers), 403, "access_denied")
        granted(listed.post("/refresh", headers=browser(token)))


def test_a_worthless_cookie_is_called_so_to_any_listed_origin(listed: IssuerApp) -> None:
    """A page whose session is long over hears `invalid_grant`, which ends its waiting."""
    for origin in (DEMO_ORIGIN, KIOSK_ORIGIN, OTHER_ORIGIN):
        answer = listed.post("/refresh", headers=browser("garbage", origin, "cross-site"))
        refused(answer, 400, "invalid_grant")
    answer = listed.post("/refresh", headers=browser("garbage", FOREIGN[0], "cross-site"))
    refused(answer, 403, "access_denied")


@pytest.mark.parametrize("destination", ["document", "iframe", "image", "script", "form", ""])
def test_cookie_mode_is_for_a_script_s_requests(listed: IssuerApp, destination: str) -> None:
    """A form, a frame or an image of one of our own pages cannot use the cookie either."""
    token, _ = cookie_of(listed.post("/login", CREDENTIALS, headers=browser()))
    headers = {**browser(token, ISSUER, "same-origin"), "Sec-Fetch-Dest": destination}
    for path in ("/refresh", "/logout"):
        refused(listed.post(path, headers=headers), 403, "access_denied")
    headers["Sec-Fetch-Dest"] = "empty"
    granted(listed.post("/refresh", headers=headers))


def test_no_answer_can_be_embedded_elsewhere(listed: IssuerApp) -> None:
    """Every answer says that no other origin may load it as a resource."""
    for path in ("/healthz", "/sessions", "/nowhere", "/.well-known/jwks.json"):
        headers = listed.ask("GET", path).headers
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_the_password_rules_are_those_of_the_issuer(make_issuer: Callable[..., IssuerApp]) -> None:
    """A page learns the length that is asked for, and every listed password of that length."""
    issuer = make_issuer(password_min_length=12)
    answer = issuer.ask("GET", "/password/rules")
    rules = answer.get_json()
    assert (rules["min_length"], rules["max_length"]) == (12, 256)
    assert "012345678910" in rules["blocked"]
    assert min(map(len, rules["blocked"])) == 12
    assert rules["common_words"][:2] == ["123456", "the"]
    assert answer.headers["Cache-Control"] == "public, max-age=86400"
    again = issuer.ask("GET", "/password/rules", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304
