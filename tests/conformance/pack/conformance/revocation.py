"""RFC 7009: a client takes its own tokens back."""

from __future__ import annotations

from urllib.parse import urlsplit

from conformance.registry import check, requirement
from conformance.target import Target, basic, nonsense


@requirement("RFC 7009", "2", "MUST", "A refresh token can be revoked.")
@check(needs="metadata", fails_on="deaf ends, forgiving refresh, strict revocation")
def refresh_token_is_revoked(target: Target) -> None:
    tokens = target.login()
    answer = target.revoke(tokens.refresh)
    assert answer.status == 200, f"the revocation is answered {answer.status}"
    target.cannot_refresh(tokens)


@requirement("RFC 7009", "2", "SHOULD", "An access token can be revoked.")
@requirement("RFC 7009", "2.1", "says", "After the answer the token is of no use.")
@check(needs="metadata api", fails_on="deaf ends, credulous API, strict revocation")
def access_token_is_revoked(target: Target) -> None:
    tokens = target.login()
    target.accepts(tokens.access)
    answer = target.revoke(tokens.access)
    assert answer.status == 200, f"the revocation is answered {answer.status}"
    target.refuses_soon(tokens.access, "a revoked access token")


@requirement("RFC 7009", "2.1", "SHOULD", "With the refresh token its access tokens go.")
@check(needs="metadata api", fails_on="deaf ends, credulous API, strict revocation")
def access_tokens_go_with_the_refresh_token(target: Target) -> None:
    tokens = target.login()
    target.accepts(tokens.access)
    assert target.revoke(tokens.refresh).status == 200
    target.refuses_soon(tokens.access, "the access token of a revoked grant")


@requirement("RFC 7009", "2", "MUST", "The endpoint's URL has no fragment (RFC 6749 section 3.1).")
@check(needs="metadata", fails_on="vague metadata")
def endpoint_has_no_fragment(target: Target) -> None:
    parts = urlsplit(target.endpoint("revocation"))
    assert parts.scheme in {"http", "https"}, f"the scheme is {parts.scheme!r}"
    assert not parts.fragment, "the URL has a fragment"


@requirement("RFC 7009", "2.1", "REQUIRED", "`token` must be given.")
@requirement("RFC 7009", "2.2.1", "says", "Errors have the form of RFC 6749 section 5.2.")
@check(needs="metadata", fails_on="polite OAuth")
def missing_token_is_an_error(target: Target) -> None:
    answer = target.post_form(target.endpoint("revocation"), {"client_id": target.client_id})
    assert answer.status == 400, f"a request without token is answered {answer.status}"
    assert answer.error == "invalid_request", f"the error is {answer.error!r}"


@requirement("RFC 7009", "2.1", "MUST", "A hint that is wrong does not hide a token.")
@check(needs="metadata", fails_on="deaf ends, forgiving refresh, strict revocation")
def wrong_hint_does_not_hide_a_token(target: Target) -> None:
    tokens = target.login()
    answer = target.revoke(tokens.refresh, token_type_hint="access_token")
    assert answer.status == 200, f"the revocation is answered {answer.status}"
    target.cannot_refresh(tokens)


@requirement("RFC 7009", "2.2", "says", "A hint that nobody knows is passed over.")
@check(needs="metadata", fails_on="deaf ends, forgiving refresh, strict revocation")
def unknown_hint_is_passed_over(target: Target) -> None:
    tokens = target.login()
    assert target.revoke(tokens.refresh, token_type_hint="pineapple").status == 200
    target.cannot_refresh(tokens)


@requirement("RFC 7009", "2.1", "MAY", "A GET revokes nothing: JSONP is not offered.")
@check(needs="metadata", fails_on="polite OAuth, forgetful tokens")
def get_revokes_nothing(target: Target) -> None:
    tokens = target.login()
    answer = target.get(f"{target.endpoint('revocation')}?token={tokens.refresh}")
    assert answer.status in {400, 404, 405}, f"a GET is answered {answer.status}"
    assert target.next(tokens).claims["sub"] == tokens.claims["sub"]


@requirement("RFC 7009", "2.1", "says", "A client's wrong credentials are refused.")
@check(needs="metadata introspection", fails_on="polite OAuth")
def wrong_credentials_are_refused(target: Target) -> None:
    assert target.introspector is not None
    tokens = target.login()
    answer = target.post_form(
        target.endpoint("revocation"),
        {"token": tokens.refresh},
        Authorization=basic(target.introspector[0], "wrong"),
    )
    assert answer.status == 401, f"wrong credentials are answered {answer.status}"
    assert answer.error == "invalid_client", f"the error is {answer.error!r}"
    target.next(tokens)


@requirement("RFC 7009", "2.1", "says", "A token of another client is not revoked.")
@requirement("RFC 7009", "5", "MUST", "A token that was guessed is not revoked by whoever guesses.")
@check(needs="metadata other", fails_on="polite OAuth, one audience")
def token_of_another_client_is_not_revoked(target: Target) -> None:
    tokens = target.login(client_id=target.other_client)
    answer = target.revoke(tokens.refresh)
    assert 400 <= answer.status < 500, f"another client's token is answered {answer.status}"
    target.next(tokens)


@requirement("RFC 7009", "2.2", "says", "Revoking what is no token is answered 200.")
@check(needs="metadata", fails_on="strict revocation")
def unknown_token_is_no_error(target: Target) -> None:
    for token in (nonsense(), "x", "a" * 500):
        answer = target.revoke(token)
        assert answer.status == 200, f"an unknown token is answered {answer.status}"


@requirement("RFC 7009", "2.2", "says", "Revoking twice is answered 200 twice.")
@check(needs="metadata", fails_on="strict revocation")
def revoking_twice_is_no_error(target: Target) -> None:
    tokens = target.login()
    for _ in range(2):
        answer = target.revoke(tokens.refresh)
        assert answer.status == 200, f"the revocation is answered {answer.status}"


@requirement("RFC 7009", "5", "MUST", "A request that is too large is refused before it costs.")
@check(needs="metadata", fails_on="polite OAuth")
def large_request_is_refused(target: Target) -> None:
    try:
        answer = target.revoke("a" * 1_000_000)
    except ConnectionError:
        return  # It broke off, which is a refusal too.
    assert answer.status in {400, 413, 414}, f"a megabyte is answered {answer.status}"
