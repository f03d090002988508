"""RFC 10017 (BCP 212): refresh tokens of apps in a browser, their cookies, and other origins."""

from __future__ import annotations

import re
import time
from urllib.parse import urljoin

from conformance.client import Answer
from conformance.registry import check, requirement
from conformance.target import Target, granted

FOREIGN = "https://evil.example"


class Cookie:
    """The one cookie that an answer sets."""

    def __init__(self, answer: Answer) -> None:
        assert answer.status == 200, f"a login by cookie is answered {answer.status}"
        set_cookies = answer.all("Set-Cookie")
        assert len(set_cookies) == 1, f"{len(set_cookies)} cookies are set"
        first, *rest = (part.strip() for part in set_cookies[0].split(";"))
        self.name, _, self.value = first.partition("=")
        pairs = (part.partition("=") for part in rest)
        self.attributes = {name.lower(): value for name, _, value in pairs}
        self.sent = f"{self.name}={self.value}"


def cookie_of(target: Target) -> Cookie:
    """The cookie of a login from a page of the issuer's own."""
    return Cookie(target.ask_login(transport="cookie", origin=target.own_origin))


@requirement("RFC 10017", "6.1.3.2", "MUST", "The session's cookie is `Secure`.")
@requirement("NIST SP 800-63B-4", "5.1.1", "SHALL", "The cookie goes over https alone.")
@check(needs="body", fails_on="loose cookie")
def cookie_is_secure(target: Target) -> None:
    assert "secure" in cookie_of(target).attributes, "Secure is missing"


@requirement("RFC 10017", "6.1.3.2", "MUST", "The session's cookie is `HttpOnly`.")
@requirement("NIST SP 800-63B-4", "5.1.1", "SHOULD", "No script can read the cookie.")
@check(needs="body", fails_on="loose cookie")
def cookie_is_http_only(target: Target) -> None:
    assert "httponly" in cookie_of(target).attributes, "HttpOnly is missing"


@requirement("RFC 10017", "6.1.3.2", "SHOULD", "The session's cookie is `SameSite=Strict`.")
@check(needs="body", fails_on="loose cookie")
def cookie_is_strictly_same_site(target: Target) -> None:
    same_site = cookie_of(target).attributes.get("samesite", "").lower()
    assert same_site == "strict", f"SameSite is {same_site!r}"


@requirement("NIST SP 800-63B-4", "5.1.1", "SHOULD", "`SameSite` is `Lax` or `Strict`.")
@check(needs="body", fails_on="loose cookie")
def cookie_is_same_site(target: Target) -> None:
    same_site = cookie_of(target).attributes.get("samesite", "").lower()
    assert same_site in {"lax", "strict"}, f"SameSite is {same_site!r}"


@requirement("RFC 10017", "6.1.3.2", "SHOULD", "The cookie's path is `/`.")
@requirement("RFC 10017", "6.1.3.2", "SHOULD", "The cookie's name has a `__Host-` prefix.")
@requirement("NIST SP 800-63B-4", "5.1.1", "SHOULD", "`__Host-` and `Path=/` are set.")
@check(needs="body", fails_on="loose cookie")
def cookie_has_the_host_prefix(target: Target) -> None:
    cookie = cookie_of(target)
    assert cookie.name.startswith(("__Host-", "__Host-Http-")), f"the name is {cookie.name!r}"
    assert cookie.attributes.get("path") == "/", "the path is another"


@requirement("RFC 10017", "6.1.3.2", "SHOULD NOT", "The cookie names no `Domain`.")
@requirement("NIST SP 800-63B-4", "5.1.1", "SHALL", "The cookie goes to this host alone.")
@check(needs="body", fails_on="loose cookie")
def cookie_is_for_one_host(target: Target) -> None:
    assert "domain" not in cookie_of(target).attributes, "a Domain is named"


@requirement("RFC 10017", "6.1.3.2", "SHOULD", "A cookie that holds a token is encrypted.")
@requirement(
    "NIST SP 800-63B-4", "5.1.1", "SHALL NOT", "The cookie holds nothing personal in clear."
)
@check(needs="body", fails_on="loose cookie")
def cookie_can_be_read_by_nobody(target: Target) -> None:
    value = cookie_of(target).value
    # A JWE has five parts (RFC 7516 section 7.1); an opaque identifier has none.
    assert value.count(".") in {0, 4}, "the cookie holds a token that can be read"
    assert target.username.lower() not in value.lower(), "the cookie holds the name"


@requirement(
    "RFC 10017", "6.1.3.3", "MUST", "A foreign page cannot use the session, `SameSite` or not."
)
@check(needs="body logout", fails_on="blind to origins")
def foreign_page_cannot_use_the_cookie(target: Target) -> None:
    cookie = cookie_of(target)
    for path in (target.paths.refresh, target.paths.logout):
        for origin in (FOREIGN, "null"):
            headers = {"Cookie": cookie.sent, "Origin": origin, "Sec-Fetch-Site": "cross-site"}
            answer = target.post_json(path, {}, **headers)
            assert 400 <= answer.status < 500, f"{path} from {origin} is {answer.status}"
            assert not answer.all("Set-Cookie"), "the cookie is touched"
    kept = target.post_json(target.paths.refresh, {}, Cookie=cookie.sent, Origin=target.own_origin)
    assert kept.status == 200, f"afterwards an own page is answered {kept.status}"


@requirement("RFC 10017", "6.1.3.3", "MUST", "A foreign page cannot log a person in.")
@check(needs="body", fails_on="blind to origins")
def foreign_page_cannot_log_in(target: Target) -> None:
    answer = target.ask_login(transport="cookie", origin=FOREIGN)
    assert 400 <= answer.status < 500, f"a login from elsewhere is answered {answer.status}"
    assert not answer.all("Set-Cookie"), "a cookie is set"
    cookie_of(target)


@requirement(
    "RFC 10017", "6.3.2.3", "MUST", "A refresh token has a longest lifetime, or an idle end."
)
@requirement(
    "RFC 10017",
    "6.3.2.3",
    "MUST NOT",
    "A rotated refresh token never outlives the first one's end.",
)
@requirement("ASVS 5", "7.3.2", "L2", "A session ends at its absolute end.")
@requirement("NIST SP 800-63B-4", "2.1.3", "SHALL", "There is a definite overall timeout.")
@requirement("NIST SP 800-63B-4", "5.2", "SHALL", "At the overall timeout the session ends.")
@requirement(
    "NIST SP 800-63B-4", "5.1", "SHALL", "A session's secret is not taken after its timeouts."
)
@requirement(
    "NIST SP 800-63B-4", "5.1.1", "SHALL NOT", "The timeout does not rely on the cookie's."
)
@check(needs="absolute", fails_on="forgiving refresh")
def absolute_end_is_kept(target: Target) -> None:
    tokens = target.login(client_id=target.absolute_client)
    end = time.monotonic() + target.patience
    while (answer := target.refresh(tokens.refresh, active_ago=0)).status == 200:
        assert time.monotonic() < end, "refreshing prolongs the session"
        tokens = granted(answer)
        time.sleep(0.1)
    assert 400 <= answer.status < 500, f"at the end {answer.status} is answered"


@requirement("RFC 10017", "6.3.2.3", "SHOULD", "A refresh token ends when the person logs out.")
@requirement("RFC 9700", "4.14.2", "MAY", "A logout ends refresh tokens.")
@check(needs="logout", fails_on="deaf ends, forgiving refresh")
def logout_ends_the_refresh_token(target: Target) -> None:
    tokens = target.login()
    target.logout(tokens)
    target.cannot_refresh(tokens)


@requirement("RFC 10017", "6.3.3.1", "MUST NOT", "A browser app needs no secret.")
@check(fails_on="polite secrets")
def browser_app_needs_no_secret(target: Target) -> None:
    answer = target.ask_login()
    assert answer.status == 200, f"a login without secret is answered {answer.status}"


@requirement("RFC 10017", "6.3.3.4", "MUST", "An app of a listed origin may ask and read.")
@requirement("RFC 7009", "2.3", "MAY", "Revocation can be asked for by a page (CORS).")
@check(needs="origin metadata", fails_on="closed to origins")
def listed_origin_may_call(target: Target) -> None:
    addresses = [target.base_url + target.paths.login, target.endpoint("revocation")]
    if target.api_url:
        addresses.append(target.api_url)
    for url in addresses:
        answer = preflight(target, url, target.origin)
        assert 200 <= answer.status < 300, f"{url} answers a preflight {answer.status}"
        allowed = answer.header("Access-Control-Allow-Origin")
        assert allowed in {target.origin, "*"}, f"{url} allows {allowed!r}"


@requirement("RFC 10017", "6.3.3.4", "advice", "No other origin is let in with credentials.")
@check(fails_on="open to origins")
def other_origin_gets_nothing(target: Target) -> None:
    answer = preflight(target, target.base_url + target.paths.login, FOREIGN)
    allowed = answer.header("Access-Control-Allow-Origin")
    credentials = answer.header("Access-Control-Allow-Credentials")
    assert allowed != FOREIGN, "any origin is allowed"
    assert not (allowed == "*" and credentials), "any origin is allowed with credentials"


@requirement("RFC 10017", "8.5", "advice", "The login page keeps no token in storage.")
@requirement(
    "NIST SP 800-63B-4", "5.1", "SHOULD NOT", "No session secret is put into local storage."
)
@check(needs="page", fails_on="foreign page")
def page_stores_no_token(target: Target) -> None:
    answer = target.get(target.base_url + target.paths.page)
    assert answer.status == 200, f"the page is answered {answer.status}"
    waiting = [urljoin(target.base_url + target.paths.page, path) for path in _scripts(answer)]
    seen: set[str] = set()
    while waiting:
        url = waiting.pop()
        if url in seen:
            continue
        seen.add(url)
        assert url.startswith(target.own_origin + "/"), f"{url} comes from elsewhere"
        text = target.get(url).content.decode()
        assert "localStorage.setItem" not in text, f"{url} writes into local storage"
        waiting += [urljoin(url, path) for path in _IMPORT.findall(text)]


_IMPORT = re.compile(r"""\b(?:from|import)\s*\(?\s*["'](\.[^"']+)["']""")


def _scripts(page: Answer) -> list[str]:
    found: list[str] = re.findall(r"<script[^>]*\bsrc=[\"']([^\"']+)", page.content.decode())
    return found


def preflight(target: Target, url: str, origin: str) -> Answer:
    """What a browser asks before a page of `origin` may POST with a token."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return target.http.send("OPTIONS", url, headers, None)
