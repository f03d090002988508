"""RFC 7662: what a resource server is told of a token."""

from __future__ import annotations

import re
import time

from conformance.forging import altered
from conformance.registry import check, requirement
from conformance.target import Target, basic, nonsense

BASE = "metadata introspection"


@requirement("RFC 7662", "2.1", "REQUIRED", "`token` must be given, in a form, by POST.")
@check(needs=BASE, fails_on="polite OAuth")
def token_is_required(target: Target) -> None:
    assert target.introspector is not None
    authorization = basic(*target.introspector)
    url = target.endpoint("introspection")
    answer = target.post_form(url, {"x": "y"}, Authorization=authorization)
    assert answer.status == 400, f"a request without token is answered {answer.status}"


@requirement("RFC 7662", "4", "MAY", "A token in a GET's query is not looked at.")
@check(needs=BASE, fails_on="polite OAuth")
def get_tells_nothing(target: Target) -> None:
    assert target.introspector is not None
    url = f"{target.endpoint('introspection')}?token={target.login().access}"
    answer = target.get(url, Authorization=basic(*target.introspector))
    assert answer.status in {400, 404, 405}, f"a GET is answered {answer.status}"


@requirement("RFC 7662", "2.1", "MUST", "A hint that is wrong does not hide a token.")
@check(needs=BASE, fails_on="all inactive")
def hint_does_not_hide_a_token(target: Target) -> None:
    tokens = target.login()
    for hint in ("refresh_token", "pineapple"):
        answer = target.introspect(tokens.access, token_type_hint=hint)
        assert answer.json.get("active") is True, f"the hint {hint} hides the token"


@requirement("RFC 7662", "2.1", "MUST", "Nobody is told anything without authorization.")
@requirement("RFC 7662", "4", "MUST", "Resource servers authenticate.")
@check(needs=BASE, fails_on="open introspection")
def caller_must_authenticate(target: Target) -> None:
    token = target.login().access
    answer = target.post_form(target.endpoint("introspection"), {"token": token})
    assert 400 <= answer.status < 500, f"without credentials {answer.status} is answered"
    assert "active" not in answer.json, "the token's state is told"


@requirement("RFC 7662", "2.3", "says", "Wrong credentials are answered 401.")
@check(needs=BASE, fails_on="open introspection, all active")
def wrong_credentials_are_refused(target: Target) -> None:
    assert target.introspector is not None
    token = target.login().access
    for client in ((target.introspector[0], "wrong"), ("nobody", target.introspector[1])):
        answer = target.introspect(token, client)
        assert answer.status == 401, f"wrong credentials are answered {answer.status}"


@requirement("RFC 7662", "2.2", "REQUIRED", "The answer is JSON with a boolean `active`.")
@check(needs=BASE, fails_on="all inactive")
def answer_is_json(target: Target) -> None:
    answer = target.introspect(target.login().access)
    assert answer.header("Content-Type").startswith("application/json"), "it is no JSON"
    assert answer.json.get("active") is True, "a good token is not active"


@requirement("RFC 7662", "2.2", "OPTIONAL", "What is told of an active token is what it says.")
@check(needs=BASE, fails_on="all active, all inactive")
def active_token_is_described(target: Target) -> None:
    tokens = target.login()
    told = target.introspect(tokens.access).json
    assert told.get("active") is True, "a good token is not active"
    for name in ("iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"):
        if name in told:
            assert told[name] == tokens.claims[name], f"{name} is told otherwise"


@requirement("RFC 7662", "2.2", "MUST", "A token that does not exist is `active: false`.")
@requirement("RFC 7662", "2.3", "MUST", "That is no error.")
@requirement("RFC 7662", "2.1", "SHOULD", "What cannot be determined is not active.")
@check(needs=BASE, fails_on="all active")
def unknown_token_is_inactive(target: Target) -> None:
    for token in (nonsense(), "x", "a.b.c.d.e"):
        assert not target.is_active(token), f"{token[:10]!r} is active"


@requirement("RFC 7662", "2.2", "SHOULD NOT", "Of an inactive token no more is told, nor why.")
@requirement("RFC 7662", "4", "SHOULD NOT", "An inactive token's answer is `active` alone.")
@check(needs=BASE, fails_on="chatty introspection, all active")
def inactive_token_has_no_reason(target: Target) -> None:
    tokens = target.login()
    target.revoke(tokens.access)
    for token in (nonsense(), tokens.access, altered(tokens.access, sub="x")):
        answer = target.introspect(token)
        assert answer.json == {"active": False}, f"more is told: {sorted(answer.json)}"


@requirement("RFC 7662", "2.2", "MUST", "Whoever may not ask about a token hears that it is not.")
@requirement("RFC 7662", "4", "MUST", "Where it can be used is determined.")
@check(needs=f"{BASE} outsider", fails_on="all active, all inactive")
def outsider_learns_nothing(target: Target) -> None:
    token = target.login().access
    assert target.is_active(token), "a good token is not active"
    answer = target.introspect(token, target.outsider)
    assert answer.status == 200, f"another API is answered {answer.status}"
    assert answer.json == {"active": False}, "another API is told of the token"


@requirement("RFC 7662", "4", "MUST", "The signature is validated.")
@check(needs=BASE, fails_on="all active, all inactive")
def changed_token_is_inactive(target: Target) -> None:
    token = target.login().access
    assert target.is_active(token), "a good token is not active"
    assert not target.is_active(altered(token, sub="admin")), "a changed token is active"
    assert not target.is_active(token[:-4] + "AAAA"), "a token with another signature is active"


@requirement("RFC 7662", "4", "MUST", "It is determined whether a token has expired.")
@check(needs=f"{BASE} key", fails_on="all active, all inactive")
def expired_token_is_inactive(target: Target) -> None:
    forge = target.forge()
    assert target.is_active(forge.token()), "a good token is not active"
    life = forge.claims["exp"] - forge.claims["iat"]
    assert not target.is_active(forge.aged(life + 300)), "an expired token is active"


@requirement("RFC 7662", "4", "MUST", "It is determined whether a token is valid already.")
@check(needs=f"{BASE} key", fails_on="all active, all inactive")
def early_token_is_inactive(target: Target) -> None:
    forge = target.forge()
    assert target.is_active(forge.token()), "a good token is not active"
    assert not target.is_active(forge.not_before(600)), "a token of later is active"


@requirement("RFC 7662", "4", "MUST", "It is determined whether a token was revoked.")
@check(needs=BASE, fails_on="deaf ends, all inactive")
def revoked_token_is_inactive(target: Target) -> None:
    tokens = target.login()
    assert target.is_active(tokens.access), "a good token is not active"
    assert target.revoke(tokens.access).status == 200
    target.becomes(
        lambda: not target.is_active(tokens.access), target.bound, "a revoked token is active"
    )


@requirement("RFC 7662", "4", "MUST NOT", "No answer is kept beyond the token's end.")
@check(needs=BASE, fails_on="lasting introspection")
def answer_is_not_kept(target: Target) -> None:
    answer = target.introspect(target.login().access)
    life = answer.json["exp"] - time.time()
    ages = [int(age) for age in re.findall(r"max-age=(\d+)", answer.header("Cache-Control"))]
    assert all(age <= life for age in ages), f"it may be kept for {ages} s, and lives for {life}"
