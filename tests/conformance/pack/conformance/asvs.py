"""OWASP ASVS 5, chapter V7; what V9 asks for is shown by the checks of RFC 8725 and 9068."""

from __future__ import annotations

from conformance.browser_apps import Cookie, cookie_of
from conformance.client import Answer
from conformance.registry import check, requirement
from conformance.target import Target


@requirement("ASVS 5", "7.2.1", "L1", "Session tokens are verified by the server.")
@check(needs="api", fails_on="credulous API, deaf API")
def tokens_are_verified_by_the_server(target: Target) -> None:
    target.accepts(target.login().access)
    target.refuses("made.up.by-the-page", "a token of the page's own")


@requirement("ASVS 5", "7.2.2", "L1", "Session tokens are made for each session.")
@requirement(
    "NIST SP 800-63B-4", "5.1", "SHALL", "The secret is made by the server after the login."
)
@check(fails_on="same tokens")
def tokens_are_made_for_each_session(target: Target) -> None:
    sessions = [target.login() for _ in range(3)]
    assert len({tokens.access for tokens in sessions}) == 3, "two sessions share an access token"
    assert len({tokens.refresh for tokens in sessions}) == 3, "two share a refresh token"


@requirement("ASVS 5", "7.2.3", "L1", "Identifiers of sessions have 128 random bits.")
@requirement("NIST SP 800-63B-4", "5.1", "SHALL", "A session's secret has 64 bits or more.")
@check(fails_on="junk tokens, same tokens")
def identifiers_are_long(target: Target) -> None:
    first, second = target.login().claims, target.login().claims
    for name in {"jti", "sid"} & set(first):
        # 22 characters of base64url are 128 bits, and 32 hexadecimal digits are.
        assert len(first[name]) >= 22, f"{name} is of {len(first[name])} characters"
        assert first[name] != second[name], f"{name} comes again"
    assert "jti" in first, "jti is missing"


def login_with(target: Target, cookie: Cookie) -> Answer:
    """A login from an own page of a browser that has a session already."""
    login = {
        "username": target.username,
        "password": target.password,
        "client_id": target.client_id,
        "transport": "cookie",
    }
    return target.post_json(target.paths.login, login, Cookie=cookie.sent, Origin=target.own_origin)


@requirement("ASVS 5", "7.2.4", "L1", "Every login makes a new session.")
@check(needs="body", fails_on="same tokens, loose cookie")
def login_makes_a_new_session(target: Target) -> None:
    first = cookie_of(target)
    again = login_with(target, first)
    assert again.status == 200, f"the second login is answered {again.status}"
    assert first.value not in again.header("Set-Cookie"), "the session stays the same"
    assert first.name.startswith("__Host-"), "another host can plant the cookie"


@requirement("ASVS 5", "7.2.4", "L1", "A login ends the session that the browser had.")
@check(needs="body", fails_on="forgiving refresh")
def login_ends_the_session_before(target: Target) -> None:
    first = cookie_of(target)
    answer = login_with(target, first)
    assert answer.status == 200, f"the second login is answered {answer.status}"
    old = target.post_json(target.paths.refresh, {}, Cookie=first.sent, Origin=target.own_origin)
    assert 400 <= old.status < 500, f"the session before is answered {old.status}"


@requirement("ASVS 5", "7.4.1", "L1", "After a logout the session is of no use.")
@requirement("NIST SP 800-63B-4", "5.1", "SHALL", "At logout the secret is worth nothing.")
@check(needs="logout api", fails_on="deaf ends, credulous API, forgiving refresh")
def logout_ends_everything(target: Target) -> None:
    tokens = target.login()
    target.accepts(tokens.access)
    target.logout(tokens)
    target.cannot_refresh(tokens)
    target.refuses_soon(tokens.access, "the access token of a session that was logged out")


@requirement("ASVS 5", "7.5.1", "L2", "A password change asks for the current password.")
@check(needs="password", fails_on="credulous password")
def password_change_asks_for_the_password(target: Target) -> None:
    tokens = target.login()
    answer = target.change_password(tokens, "not the password at all", "another long passphrase 9")
    assert answer.status in {400, 401, 403}, f"a wrong password is answered {answer.status}"
    target.login()


@requirement("ASVS 5", "7.5.2", "L2", "A person sees their sessions and can end any of them.")
@check(needs="sessions", fails_on="deaf ends, forgiving refresh")
def person_ends_their_sessions(target: Target) -> None:
    own, other = target.login(), target.login()
    headers = {"Authorization": f"Bearer {own.access}"}
    url = target.base_url + target.paths.sessions
    answer = target.http.send("GET", url, headers, None)
    assert answer.status == 200, f"the list is answered {answer.status}"
    sid = other.claims["sid"]
    assert sid in answer.content.decode(), "a session is not listed"
    ended = target.http.send("DELETE", f"{url}/{sid}", headers, None)
    assert 200 <= ended.status < 300, f"ending it is answered {ended.status}"
    target.cannot_refresh(other)
    target.next(own)


@requirement("ASVS 5", "7.5.2", "L2", "Ending sessions asks for one more factor.")
@check(needs="sessions", fails_on="deaf ends")
def ending_sessions_asks_again(target: Target) -> None:
    own, other = target.login(), target.login()
    url = f"{target.base_url}{target.paths.sessions}/{other.claims['sid']}"
    answer = target.http.send("DELETE", url, {"Authorization": f"Bearer {own.access}"}, None)
    assert answer.status in {401, 403}, f"the token alone ends a session: {answer.status}"


@requirement("ASVS 5", "7.6.2", "L2", "No session begins without something that a person does.")
@check(fails_on="credulous login")
def session_begins_with_a_person(target: Target) -> None:
    for missing in ({"password": ""}, {"username": ""}, {"password": None}):
        answer = target.ask_login(**missing)
        assert 400 <= answer.status < 500, f"a login without {missing} is {answer.status}"
    get = target.get(target.base_url + target.paths.login)
    assert get.status in {404, 405} or not get.all("Set-Cookie"), "a GET begins a session"
    assert "access_token" not in get.json, "a GET gives tokens"
