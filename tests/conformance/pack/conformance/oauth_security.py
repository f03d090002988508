"""RFC 9700, the OAuth security BCP, for an issuer with refresh tokens and for an API."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from conformance.registry import check, requirement
from conformance.target import Target, granted


@requirement("RFC 9700", "2.1.2", "SHOULD NOT", "No token is issued in an authorization response.")
@requirement("RFC 10017", "7.2", "MUST NOT", "Access tokens come from no authorization response.")
@check(needs="metadata", fails_on="vague metadata")
def no_implicit_grant(target: Target) -> None:
    metadata = target.metadata()
    types = [part for kind in metadata["response_types_supported"] for part in kind.split()]
    assert "token" not in types, "the implicit grant is offered"
    assert "implicit" not in metadata.get("grant_types_supported", []), "implicit is offered"


@requirement("RFC 9700", "2.4", "MUST NOT", "No password grant is offered or taken.")
@requirement("RFC 10017", "7.3", "MUST NOT", "No password grant is offered or taken.")
@check(needs="metadata", fails_on="vague metadata, password grant")
def no_password_grant(target: Target) -> None:
    metadata = target.metadata()
    # RFC 8414 section 2: left out, it would mean authorization code and implicit.
    assert "password" not in metadata.get("grant_types_supported", []), "password is offered"
    form = {
        "grant_type": "password",
        "username": target.username,
        "password": target.password,
        "client_id": target.client_id,
    }
    guesses = {f"{target.base_url}/token", f"{target.base_url}/oauth/token"}
    for url in guesses | {str(metadata.get("token_endpoint", f"{target.base_url}/token"))}:
        answer = target.post_form(url, form)
        assert "access_token" not in answer.json, f"{url} takes a password"


@requirement("RFC 9700", "2.3", "SHOULD", "A token is for one resource server, or for a few.")
@requirement("RFC 9700", "4.10", "SHOULD", "A token is restricted to its audience.")
@check(fails_on="junk tokens")
def audience_is_narrow(target: Target) -> None:
    audience = target.login().claims["aud"]
    several = [audience] if isinstance(audience, str) else audience
    assert 0 < len(several) <= 3, f"the token is for {len(several)} audiences"


@requirement("RFC 9700", "2.3", "SHOULD", "A token is restricted to a scope.")
@check(fails_on="junk tokens")
def token_has_a_scope(target: Target) -> None:
    assert target.login().claims.get("scope"), "the token has no scope"


@requirement("RFC 9700", "2.5", "SHOULD", "A confidential client must authenticate.")
@check(needs="introspection", fails_on="polite OAuth")
def confidential_client_authenticates(target: Target) -> None:
    assert target.introspector is not None
    token = target.login().access
    assert target.introspect(token).status == 200, "the right secret does not open introspection"
    for secret in ("", "wrong", target.introspector[1] + "x"):
        answer = target.introspect(token, (target.introspector[0], secret))
        assert answer.status == 401, f"a wrong secret is answered {answer.status}"


@requirement("RFC 9700", "4.2.4", "advice", "No answer lets its address out as a referrer.")
@check(fails_on="bare answers")
def no_referrer(target: Target) -> None:
    policies = [target.ask_login().header("Referrer-Policy")]
    if "page" in target.offers:
        policies.append(target.get(target.base_url + target.paths.page).header("Referrer-Policy"))
    for policy in policies:
        assert policy in {"no-referrer", "same-origin", "strict-origin"}, f"{policy!r}"


@requirement("RFC 9700", "4.2.4", "SHOULD", "The login page loads nothing from third parties.")
@check(needs="page", fails_on="foreign page")
def page_loads_nothing_foreign(target: Target) -> None:
    answer = target.get(target.base_url + target.paths.page)
    assert answer.status == 200, f"the page is answered {answer.status}"
    text = answer.content.decode()
    assert "<" in text, "the page is no page"
    own = urlsplit(target.base_url).netloc
    for address in re.findall(r"(?:src|href|action)\s*=\s*[\"']?([^\"'\s>]+)", text):
        assert urlsplit(address).netloc in {"", own}, f"the page names {address}"


@requirement("RFC 9700", "4.3.2", "MUST NOT", "No access token travels in a URL's query.")
@check(needs="api", fails_on="credulous API, deaf API")
def token_in_the_query_is_not_taken(target: Target) -> None:
    token = target.login().access
    target.accepts(token)
    answer = target.get(f"{target.api_url}?access_token={token}")
    assert answer.status in {400, 401}, f"a token in the query is answered {answer.status}"


@requirement("RFC 9700", "2.1", "MUST NOT", "No address forwards a browser wherever it is told.")
@requirement("RFC 9700", "4.11.2", "MUST", "The issuer is no open redirector.")
@requirement("RFC 9700", "4.12", "MUST NOT", "Credentials are not redirected by status 307.")
@check(fails_on="redirecting")
def nothing_redirects(target: Target) -> None:
    there = "https://elsewhere.example/"
    for name in ("redirect_uri", "next", "return_to", "url"):
        for path in (target.paths.login, target.paths.logout, "/authorize", "/"):
            url = f"{target.base_url}{path}?{name}={there}"
            answers = [target.get(url), target.post_form(url, {name: there})]
            for answer in answers:
                location = answer.header("Location")
                assert not location.startswith(there), f"{path} redirects to {name}"
    login = target.ask_login()
    assert not 300 <= login.status < 400, f"a login is answered {login.status}"


@requirement("RFC 9700", "2.2.2", "MUST", "Refresh rotates, unless tokens are sender-constrained.")
@requirement("RFC 10017", "6.3.2.3", "MUST", "Each use rotates the refresh token.")
@check(fails_on="same tokens")
def refresh_rotates(target: Target) -> None:
    first = target.login()
    target.let_grace_pass()
    second = target.next(first)
    assert second.refresh, "the refresh gives no refresh token"
    assert second.refresh != first.refresh, "the refresh token stays the same"
    assert second.access != first.access, "the access token stays the same"


@requirement(
    "RFC 9700", "4.14.2", "MUST", "A spent refresh token that comes back ends its whole family."
)
@check(fails_on="forgiving refresh, same tokens")
def reuse_ends_the_family(target: Target) -> None:
    first = target.login()
    target.let_grace_pass()
    second = target.next(first)
    target.let_grace_pass()
    third = target.next(second)
    target.let_grace_pass()
    target.cannot_refresh(first)
    target.cannot_refresh(third)


@requirement(
    "RFC 9700", "4.14.2", "advice", "With the family its access tokens go: at the API, too."
)
@check(needs="api", fails_on="forgiving refresh, credulous API")
def reuse_ends_access(target: Target) -> None:
    first = target.login()
    target.let_grace_pass()
    second = target.next(first)
    target.let_grace_pass()
    third = target.next(second)
    target.accepts(third.access)
    target.let_grace_pass()
    target.cannot_refresh(first)
    target.refuses_soon(third.access, "the thief's access token")


@requirement("RFC 9700", "4.14.2", "MUST", "A refresh keeps scope and resource server.")
@check(fails_on="junk tokens, forgetful tokens")
def refresh_keeps_scope_and_audience(target: Target) -> None:
    tokens = target.login()
    wider = {"scope": "admin everything", "resource": "https://other.example", "audience": "x"}
    answer = target.refresh(tokens.refresh, **wider)
    if answer.status == 400:  # which refuses to be asked for more
        answer = target.refresh(tokens.refresh)
    assert answer.status == 200, f"a refresh is answered {answer.status}"
    later = granted(answer).claims
    for name in ("aud", "scope", "client_id"):
        assert later.get(name) == tokens.claims.get(name), f"{name} changes with a refresh"
    assert "aud" in later, "aud is missing"


@requirement("RFC 9700", "4.14.2", "MUST", "A refresh token's integrity is protected.")
@check(fails_on="forgiving refresh")
def altered_refresh_token_is_refused(target: Target) -> None:
    tokens = target.login()
    target.next(tokens)
    token = tokens.refresh
    middle = len(token) // 2
    swapped = "A" if token[middle] != "A" else "B"
    for forged in (
        token[:middle] + swapped + token[middle + 1 :],
        token[:-6],
        token + "AAAA",
        token[::-1],
        "A" * len(token),
    ):
        answer = target.refresh(forged)
        assert 400 <= answer.status < 500, f"an altered token is answered {answer.status}"


@requirement(
    "RFC 9700", "4.14.2", "SHOULD", "A refresh token that nobody's activity keeps alive expires."
)
@requirement("ASVS 5", "7.3.1", "L2", "A session ends for want of activity.")
@requirement(
    "NIST SP 800-63B-4",
    "5.1.2",
    "SHALL NOT",
    "A token that is renewed in the background is no sign that the person is there.",
)
@requirement("NIST SP 800-63B-4", "5.2", "SHALL", "At the inactivity timeout the session ends.")
@check(needs="idle", fails_on="forgiving refresh")
def idle_session_ends(target: Target) -> None:
    tokens = target.login(client_id=target.idle_client)
    target.ends(tokens)


@requirement("RFC 9700", "4.14.2", "MAY", "A password change ends refresh tokens.")
@requirement("ASVS 5", "7.4.3", "L2", "After a password change all other sessions are over.")
@check(needs="password api", fails_on="deaf ends, forgiving refresh")
def password_change_ends_other_sessions(target: Target) -> None:
    old, other = target.password, target.login()
    new = f"{old} and a bit more"
    answer = target.change_password(target.login(), old, new)
    assert answer.status == 200, f"the change is answered {answer.status}"
    try:
        target.password = new
        target.cannot_refresh(other)
        target.refuses_soon(other.access, "an older session's access token")
    finally:
        target.password = new
        target.change_password(target.login(), new, old)
        target.password = old
    target.login()


@requirement("RFC 9700", "4.16", "MUST", "No answer can be framed.")
@requirement("RFC 9700", "4.16", "SHOULD", "Content Security Policy says so.")
@check(fails_on="bare answers")
def nothing_can_be_framed(target: Target) -> None:
    answers = [target.ask_login()]
    if "page" in target.offers:
        answers.append(target.get(target.base_url + target.paths.page))
    for answer in answers:
        policy = answer.header("Content-Security-Policy")
        assert re.search(r"frame-ancestors '(none|self)'", policy), f"the policy is {policy!r}"


@requirement("RFC 9700", "4.16", "SHOULD", "Browsers without that policy are told otherwise, too.")
@check(fails_on="bare answers")
def older_browsers_cannot_frame(target: Target) -> None:
    answers = [target.ask_login()]
    if "page" in target.offers:
        answers.append(target.get(target.base_url + target.paths.page))
    for answer in answers:
        said = answer.header("X-Frame-Options").upper()
        assert said in {"DENY", "SAMEORIGIN"}, f"X-Frame-Options is {said!r}"
