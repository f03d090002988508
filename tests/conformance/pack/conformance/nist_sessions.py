"""NIST SP 800-63B-4, chapter 5: sessions. Other modules name its clauses beside their own."""

from __future__ import annotations

import time

from conformance.browser_apps import Cookie, cookie_of
from conformance.registry import check, requirement
from conformance.target import Target, granted

ATTEMPTS = 5
LONG = 0.5
"""Seconds of the check's own after which a refusal proves nothing: a session lives for one."""


@requirement("NIST SP 800-63B-4", "5.1", "SHOULD", "At logout the browser forgets the secret.")
@requirement("NIST SP 800-63B-4", "5.1", "SHOULD", "A person can log out.")
@check(needs="body logout", fails_on="deaf ends, loose cookie")
def logout_takes_the_cookie_away(target: Target) -> None:
    cookie = cookie_of(target)
    headers = {"Cookie": cookie.sent, "Origin": target.own_origin}
    gone = Cookie(target.post_json(target.paths.logout, {}, **headers))
    assert gone.name == cookie.name, "another cookie is taken away"
    assert not gone.value.strip('"'), "the cookie keeps its value"
    assert gone.attributes.get("max-age") == "0" or "1970" in gone.attributes.get("expires", "")
    assert gone.name.startswith("__Host-"), "it is not the same cookie"


@requirement("NIST SP 800-63B-4", "5.1.1", "SHOULD", "The cookie expires with the session.")
@check(needs="body absolute", fails_on="loose cookie")
def cookie_expires_with_the_session(target: Target) -> None:
    answer = target.ask_login(
        transport="cookie", origin=target.own_origin, client_id=target.absolute_client
    )
    attributes = Cookie(answer).attributes
    assert "max-age" in attributes or "expires" in attributes, "the cookie never expires"
    assert int(attributes.get("max-age", "0")) <= 10, "the cookie outlives the session"


@requirement(
    "NIST SP 800-63B-4", "5.1", "SHOULD NOT", "A secret that is a bearer's ends with the browser."
)
@check(needs="body", fails_on="lasting cookie")
def cookie_ends_with_the_browser(target: Target) -> None:
    attributes = cookie_of(target).attributes
    assert not {"max-age", "expires"} & set(attributes), "the cookie survives a restart"


@requirement(
    "NIST SP 800-63B-4", "5.1", "SHALL", "What is POSTed names the session, against forgery."
)
@check(needs="body", fails_on="blind to origins")
def content_names_the_session(target: Target) -> None:
    headers = {"Cookie": cookie_of(target).sent, "Origin": target.own_origin}
    answer = target.post_json(target.paths.refresh, {}, **headers)
    assert 400 <= answer.status < 500, f"without it {answer.status} is answered"


@requirement("NIST SP 800-63B-4", "5.2", "SHALL", "A person's activity resets the idle timeout.")
@check(needs="idle", fails_on="deaf refresh")
def activity_keeps_the_session(target: Target) -> None:
    for _ in range(ATTEMPTS):
        begun = asked = time.monotonic()
        tokens = target.login(client_id=target.idle_client)
        while asked < begun + 2.2:
            time.sleep(0.25)
            before, asked = asked, time.monotonic()
            answer = target.refresh(tokens.refresh, active_ago=0)
            if answer.status != 200 and time.monotonic() - before > LONG:
                break
            tokens = granted(answer)
        else:
            return
    granted(answer)


@requirement("NIST SP 800-63B-4", "5.2", "SHALL", "A login begins both timeouts anew.")
@check(needs="absolute", fails_on="same tokens, forgiving refresh")
def login_begins_timeouts_anew(target: Target) -> None:
    first = target.login(client_id=target.absolute_client)
    target.ends(first)
    for _ in range(ATTEMPTS):
        begun = time.monotonic()
        second = target.login(client_id=target.absolute_client)
        status = target.refresh(second.refresh).status
        if status == 200 or time.monotonic() - begun <= LONG:
            break
    assert status == 200, "the new session has ended, too"


@requirement("NIST SP 800-63B-4", "5.2", "MAY", "An app is told when the session will end.")
@check(fails_on="junk tokens")
def ends_are_told(target: Target) -> None:
    body = target.login().body
    assert body.get("expires_in", 0) > 0, "expires_in is missing"
    assert body.get("session", {}).get("absolute_expires_in", 0) > 0, "the end is not told"
