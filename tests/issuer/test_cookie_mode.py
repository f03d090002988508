"""Cookie mode: the refresh token in a cookie that no other site can use."""

from __future__ import annotations

import pytest
from harness import stacks
from harness.issuer_app import (
    ABSOLUTE,
    ISSUER,
    OTHER_ORIGIN,
    PASSWORD,
    USERNAME,
    IssuerApp,
    browser,
    cookie_of,
    granted,
    refused,
)
from werkzeug.test import TestResponse

CREDENTIALS = {"username": USERNAME, "password": PASSWORD}

FOREIGN = "https://evil.example"
# Origin, Sec-Fetch-Site (None: the header is absent), and whether cookie mode may be used.
ORIGINS: list[tuple[str | None, str | None, bool]] = [
    (None, None, False),
    (ISSUER, None, True),
    (ISSUER, "same-origin", True),
    (None, "same-origin", True),
    (OTHER_ORIGIN, None, True),
    (OTHER_ORIGIN, "same-site", True),
    (OTHER_ORIGIN, "cross-site", True),
    (FOREIGN, None, False),
    (FOREIGN, "same-origin", False),
    (FOREIGN, "cross-site", False),
    ("null", None, False),
    ("null", "same-origin", False),
    ("", "same-origin", False),
    (ISSUER, "cross-site", False),
    (ISSUER, "same-site", False),
    (ISSUER, "none", False),
    (ISSUER, "", False),
    (None, "cross-site", False),
    (None, "same-site", False),
    (None, "none", False),
    (f"{ISSUER}/", None, False),
    (f"{ISSUER}.evil.example", None, False),
    (f"{ISSUER}, {FOREIGN}", None, False),
    (ISSUER.replace("http:", "https:"), None, False),
    (ISSUER.upper(), None, False),
]


def cookie_login(issuer: IssuerApp, headers: dict[str, str] | None = None) -> TestResponse:
    """Log in as a browser does; cookie mode is the default."""
    return issuer.post("/login", CREDENTIALS, headers=browser() if headers is None else headers)


def test_a_browser_gets_its_refresh_token_as_a_cookie(issuer: IssuerApp) -> None:
    """The cookie is for this host alone, over TLS alone, and for no script."""
    answer = cookie_login(issuer)
    assert "refresh_token" not in granted(answer)
    token, attributes = cookie_of(answer)
    assert attributes.pop("expires")
    assert attributes == {
        "max-age": str(ABSOLUTE),
        "secure": "",
        "httponly": "",
        "path": "/",
        "samesite": "Strict",
    }
    assert issuer.opened(token).sid == answer.get_json()["session"]["sid"]


def test_a_login_ends_the_session_that_the_browser_had(issuer: IssuerApp) -> None:
    """The session whose cookie is replaced would go on unseen; a refused login ends nothing."""
    answer = cookie_login(issuer)
    token, _ = cookie_of(answer)
    wrong = issuer.post("/login", {**CREDENTIALS, "password": "wrong"}, headers=browser(token))
    refused(wrong, 400, "invalid_grant")
    granted(issuer.sessions(answer.get_json()["access_token"]))
    fresh, _ = cookie_of(cookie_login(issuer, browser(token)))
    refused(issuer.post("/refresh", headers=browser(token)), 400, "invalid_grant")
    refused(issuer.sessions(answer.get_json()["access_token"]), 401, "invalid_token")
    granted(issuer.post("/refresh", headers=browser(fresh)))


def test_a_login_ends_no_session_of_another_client(issuer: IssuerApp) -> None:
    """One app's page ends no other app's session, nor does a login in body mode end one."""
    token, _ = cookie_of(cookie_login(issuer))
    elsewhere = {**CREDENTIALS, "client_id": "kiosk"}
    granted(issuer.post("/login", elsewhere, headers=browser(token)))
    granted(issuer.post("/login", {**CREDENTIALS, "transport": "body"}, headers=browser(token)))
    granted(issuer.post("/refresh", headers=browser(token)))


def test_a_refresh_renews_the_cookie(issuer: IssuerApp) -> None:
    """The renewed cookie holds the next generation and lasts until the absolute end."""
    token, _ = cookie_of(cookie_login(issuer))
    issuer.clock.advance(100)
    answer = issuer.post("/refresh", headers=browser(token))
    assert "refresh_token" not in granted(answer)
    renewed, attributes = cookie_of(answer)
    assert issuer.opened(renewed).gen == 2
    assert attributes["max-age"] == str(ABSOLUTE - 100)


@pytest.mark.parametrize(("origin", "site", "allowed"), ORIGINS)
@pytest.mark.parametrize("stack", ["sqlite-redis"], indirect=True)
def test_only_own_pages_use_cookie_mode(
    issuer: IssuerApp, origin: str | None, site: str | None, *, allowed: bool
) -> None:
    """Login, refresh and logout by cookie take the request of an own page and of no other."""
    token, _ = cookie_of(cookie_login(issuer))
    headers = browser(token, origin, site)
    before = issuer.everything()
    answers = [
        cookie_login(issuer, browser(None, origin, site)),
        issuer.post("/refresh", headers=headers),
        issuer.post("/refresh", {"active_ago": 0}, headers=headers),
        issuer.post("/logout", headers=headers),
    ]
    if allowed:
        assert [answer.status_code for answer in answers] == [200] * 4
        return
    for answer in answers:
        refused(answer, 403, "access_denied")
        assert "Set-Cookie" not in answer.headers
    assert issuer.everything() == before
    assert issuer.post("/refresh", headers=browser(token)).status_code == 200


@stacks.anywhere
def test_a_password_change_by_cookie_is_for_own_pages_too(issuer: IssuerApp) -> None:
    """A foreign page gets no session in the victim's cookie jar."""
    grant = granted(cookie_login(issuer))
    body = {"current_password": PASSWORD, "new_password": "an unlikely brass kettle 4417"}
    headers = {"Authorization": f"Bearer {grant['access_token']}", "Origin": FOREIGN}
    cookie = {**body, "transport": "cookie"}
    refused(issuer.post("/password", cookie, headers=headers), 403, "access_denied")
    answer = issuer.post("/password", body, headers=headers)
    assert "refresh_token" in granted(answer)


def test_body_mode_needs_no_origin(issuer: IssuerApp) -> None:
    """A refresh token in the body is not what a foreign page could send by itself."""
    grant = issuer.grant(headers={"Origin": FOREIGN, "Sec-Fetch-Site": "cross-site"})
    body = {"refresh_token": grant["refresh_token"]}
    answer = issuer.post("/refresh", body, headers={"Origin": FOREIGN})
    assert "Set-Cookie" not in answer.headers
    assert granted(answer)["refresh_token"]


def test_the_body_goes_before_the_cookie(issuer: IssuerApp) -> None:
    """With both given, the token of the body counts, and the cookie is left alone."""
    token, _ = cookie_of(cookie_login(issuer))
    other = issuer.grant()
    body = {"refresh_token": other["refresh_token"]}
    answer = issuer.post("/refresh", body, headers=browser(token))
    assert granted(answer)["session"]["sid"] == other["session"]["sid"]
    assert "Set-Cookie" not in answer.headers


def test_a_failed_refresh_never_touches_the_cookie(issuer: IssuerApp) -> None:
    """Reuse, an ended session, a foreign origin, garbage: no answer takes the cookie away."""
    first, _ = cookie_of(cookie_login(issuer))
    issuer.clock.advance(20)
    second, _ = cookie_of(issuer.post("/refresh", headers=browser(first)))
    issuer.clock.advance(20)
    cookie_of(issuer.post("/refresh", headers=browser(second)))
    answers = [
        issuer.post("/refresh", headers=browser("garbage")),
        issuer.post("/refresh", headers=browser(second, origin=FOREIGN)),
        issuer.post("/refresh", headers=browser(first)),
        issuer.post("/refresh", headers=browser(second)),
        issuer.post("/refresh", {"active_ago": "x"}, headers=browser(second)),
        issuer.post("/refresh", headers=browser()),
    ]
    assert [answer.status_code for answer in answers] == [400, 403, 400, 400, 400, 400]
    assert not any("Set-Cookie" in answer.headers for answer in answers)


def test_a_logout_takes_the_cookie_away(issuer: IssuerApp) -> None:
    """Logout by cookie ends the session and removes the cookie under the same attributes."""
    token, _ = cookie_of(cookie_login(issuer))
    answer = issuer.post("/logout", headers=browser(token))
    assert granted(answer) == {"logged_out": True}
    value, attributes = cookie_of(answer)
    assert (value, attributes["max-age"]) == ("", "0")
    assert attributes.items() >= {"secure": "", "httponly": "", "path": "/"}.items()
    refused(issuer.post("/refresh", headers=browser(token)), 400, "invalid_grant")
    # A cookie that is worth nothing any more is taken away all the same.
    assert cookie_of(issuer.post("/logout", headers=browser(token)))[0] == ""


def test_a_logout_that_fails_keeps_the_cookie(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a store down the browser keeps the cookie, so that it can try again."""
    from revocation import DenylistUnavailable

    def down(*_: object) -> None:
        raise DenylistUnavailable("down")

    token, _ = cookie_of(cookie_login(issuer))
    monkeypatch.setattr(issuer.services.denylist, "add", down)
    answer = issuer.post("/logout", headers=browser(token))
    refused(answer, 503, "temporarily_unavailable")
    assert "Set-Cookie" not in answer.headers


@stacks.anywhere
def test_an_unknown_transport_is_refused(issuer: IssuerApp) -> None:
    """There are two transports and no third."""
    text = refused(issuer.login(transport="header"), 400, "invalid_request")
    assert text == "transport must be one of cookie, body"


@pytest.mark.parametrize(
    "planted",
    [
        ('a="; {}; b="', True),
        ("a=\xff; {}", True),
        ("={}", False),
        ("{}; {}", False),
        ("\u2000{}", False),
        ("__host-gatepass_refresh=1; {}", True),
    ],
    ids=["quotes", "no UTF-8", "no name", "twice", "odd space", "small letters"],
)
def test_cookies_of_a_neighbouring_host_neither_hide_ours_nor_pass_for_it(
    issuer: IssuerApp, planted: tuple[str, bool]
) -> None:
    """What a subdomain can plant (RFC 6265 section 8.6) is not taken for the refresh token."""
    token, _ = cookie_of(cookie_login(issuer))
    text, taken = planted
    ours = f"__Host-gatepass_refresh={token}"
    cookies = text.format(ours, ours).encode().decode("latin-1")
    answer = issuer.post("/refresh", headers={**browser(), "Cookie": cookies})
    assert answer.status_code == (200 if taken else 400)
