"""RFC 9068: what a JWT access token holds, and how a resource server validates it."""

from __future__ import annotations

import time

import jwt
from conformance.forging import header_of
from conformance.registry import Check, check, requirement
from conformance.target import Target

PROFILE_TYPES = {"at+jwt", "application/at+jwt"}


@requirement("RFC 9068", "2.1", "MUST", "An access token is signed, and never under `none`.")
@requirement("RFC 9068", "2.1", "RECOMMENDED", "The signature is asymmetric.")
@requirement("RFC 9068", "4", "RECOMMENDED", "The issuer signs with an asymmetric algorithm.")
@check(fails_on="junk tokens")
def signature_is_asymmetric(target: Target) -> None:
    token = target.login().access
    alg = header_of(token).get("alg", "none")
    assert not alg.startswith("HS"), f"the token is under {alg}"
    assert alg.lower() != "none", "the token is not signed"
    assert token.split(".")[2], "the signature is empty"


@requirement("RFC 9068", "2.1", "MUST", "`typ` declares the profile.")
@requirement("RFC 9068", "2.1", "SHOULD", "`typ` is written `at+jwt`.")
@check(fails_on="junk tokens")
def type_is_at_jwt(target: Target) -> None:
    typ = header_of(target.login().access).get("typ", "")
    assert typ.lower() == "at+jwt", f"typ is {typ!r}"


def _required(name: str, kind: type | tuple[type, ...]) -> Check:
    def claim_is_there(target: Target) -> None:
        value = target.login().claims.get(name)
        assert isinstance(value, kind), f"{name} is {value!r}"
        assert not isinstance(value, bool), f"{name} is {value!r}"
        assert value, f"{name} is empty"

    claim_is_there.__name__ = f"{name}_is_there"
    made = check(fails_on="junk tokens")(claim_is_there)
    return requirement("RFC 9068", "2.2", "REQUIRED", f"The token holds `{name}`.")(made)


for _name, _kind in (
    ("iss", str),
    ("exp", int),
    ("aud", (str, list)),
    ("sub", str),
    ("client_id", str),
    ("iat", int),
    ("jti", str),
):
    _required(_name, _kind)


@requirement("RFC 9068", "2.2", "REQUIRED", "`iat` is when it was issued, `exp` lies after it.")
@check(fails_on="junk tokens")
def times_are_those_of_issue(target: Target) -> None:
    before = time.time()
    claims = target.login().claims
    assert before - 60 <= claims["iat"] <= time.time() + 60, "iat is not the time of issue"
    assert claims["exp"] > claims["iat"], "exp does not lie after iat"


@requirement("RFC 9068", "2.2", "REQUIRED", "`jti` differs from token to token.")
@check(fails_on="same tokens")
def ids_are_unique(target: Target) -> None:
    ids = {target.login().claims["jti"] for _ in range(3)}
    assert len(ids) == 3, "two tokens share a jti"


@requirement("RFC 9068", "2.2", "SHOULD", "`sub` is the person, however often they log in.")
@check(fails_on="junk tokens")
def subject_is_the_person(target: Target) -> None:
    first, second = target.login().claims, target.login().claims
    assert first["sub"] == second["sub"], "sub changes from login to login"
    assert first["sub"] != first["client_id"], "sub is the client"


@requirement(
    "RFC 9068", "2.2.1", "says", "What is said of the authentication is the same after a refresh."
)
@requirement(
    "NIST SP 800-63B-4",
    "5.1",
    "SHALL NOT",
    "A session never counts for more than the authentication that began it.",
)
@check(fails_on="junk tokens, forgetful tokens")
def authentication_claims_stay(target: Target) -> None:
    tokens = target.login()
    later = target.next(tokens).claims
    for name in ("auth_time", "acr", "amr"):
        assert tokens.claims.get(name) == later.get(name), f"{name} changes with a refresh"
    assert later["sub"] == tokens.claims["sub"], "sub changes with a refresh"


@requirement("RFC 9068", "2.2.3", "SHOULD", "The token says the scope that was granted.")
@check(fails_on="junk tokens")
def scope_is_said(target: Target) -> None:
    tokens = target.login()
    scope = tokens.body.get("scope", "")
    assert tokens.claims.get("scope", None if scope else "") == scope, "scope differs"
    assert isinstance(tokens.claims["jti"], str)


@requirement(
    "RFC 9068", "3", "MUST", "Where no resource is asked for, `aud` is the client's default one."
)
@check(fails_on="junk tokens")
def audience_is_the_default_one(target: Target) -> None:
    first, second = (target.login().claims.get("aud") for _ in range(2))
    assert first, "aud is missing"
    assert first == second, "aud changes from login to login"


@requirement("RFC 9068", "4", "SHOULD", "Metadata name the keys, and the issuer as `iss` has it.")
@requirement("RFC 9700", "2.6", "RECOMMENDED", "The issuer publishes metadata (RFC 8414).")
@check(needs="metadata", fails_on="no metadata, junk tokens, vague metadata")
def metadata_lead_to_the_keys(target: Target) -> None:
    token = target.login().access
    kid = header_of(token)["kid"]
    (key,) = (jwt.PyJWK.from_dict(key) for key in target.jwks() if key.get("kid") == kid)
    claims = jwt.decode(token, key, algorithms=[key.algorithm_name], options={"verify_aud": False})
    assert claims["iss"] == target.metadata()["issuer"], "iss is not the metadata's issuer"


@requirement("RFC 9068", "4", "MUST", "A token of any other `typ` is refused.")
@requirement("ASVS 5", "9.2.2", "L2", "The type is checked before the contents count.")
@check(needs="api key", fails_on="credulous API, deaf API")
def other_type_is_refused(target: Target) -> None:
    forge = target.forge()
    target.accepts(forge.token())
    for typ in ("JWT", "dpop+jwt", "logout+jwt", "", None, "at+jwt2", 7):
        target.refuses(forge.token(header={"typ": typ}), f"a token of type {typ!r}")


@requirement("RFC 9068", "4", "MUST", "Both spellings of the profile's `typ` are taken.")
@check(needs="api key", fails_on="deaf API")
def both_types_are_taken(target: Target) -> None:
    forge = target.forge()
    for typ in PROFILE_TYPES:
        target.accepts(forge.token(header={"typ": typ}))


@requirement("RFC 9068", "4", "MUST", "`iss` must match exactly.")
@check(needs="api key", fails_on="credulous API, deaf API")
def issuer_matches_exactly(target: Target) -> None:
    forge = target.forge()
    target.accepts(forge.token())
    issuer = str(forge.claims["iss"])
    for other in (issuer + "/", issuer.upper(), issuer + ".example", issuer[:-1], f" {issuer}"):
        target.refuses(forge.token(iss=other), f"issuer {other!r}")


@requirement("RFC 9068", "4", "MUST", "`aud` must name this resource server.")
@check(needs="api key", fails_on="credulous API, deaf API")
def audience_names_this_server(target: Target) -> None:
    forge = target.forge()
    audience = forge.claims["aud"]
    own = audience[0] if isinstance(audience, list) else str(audience)
    target.accepts(forge.token(aud=own))
    target.accepts(forge.token(aud=["another-api", own]))
    for other in (f"{own}2", own.upper() + "X", f"{own} another-api", {"api": own}):
        target.refuses(forge.token(aud=other), f"a token for {other!r}")


@requirement("RFC 9068", "4", "MUST", "The time must lie before `exp`, but for a small leeway.")
@requirement("ASVS 5", "9.2.1", "L1", "A token is not taken after `exp`.")
@check(needs="api key", fails_on="credulous API, deaf API")
def expired_token_is_refused(target: Target) -> None:
    forge = target.forge()
    target.accepts(forge.token())
    life = forge.claims["exp"] - forge.claims["iat"]
    target.refuses(forge.aged(life + 300), "a token that expired five minutes ago")
    target.refuses(forge.token(exp=None), "a token that never expires")


@requirement("ASVS 5", "9.2.1", "L1", "A token is not taken before `nbf`.")
@check(needs="api key", fails_on="credulous API, deaf API")
def early_token_is_refused(target: Target) -> None:
    forge = target.forge()
    target.accepts(forge.not_before(-5))
    target.refuses(forge.not_before(600), "a token that is valid in ten minutes")


@requirement("RFC 9068", "4", "MUST", "A refusal is `invalid_token` in the challenge (RFC 6750).")
@check(needs="api", fails_on="rude API, credulous API")
def refusal_is_a_challenge(target: Target) -> None:
    answer = target.api("not.a.token")
    assert answer.status == 401, f"answered {answer.status}"
    challenge = answer.header("WWW-Authenticate")
    assert 'error="invalid_token"' in challenge, f"the challenge is {challenge!r}"


@requirement("RFC 9068", "5", "MUST", "Tokens for different resources differ in `aud`.")
@requirement(
    "ASVS 5", "9.2.4", "L2", "Where one key signs for several audiences, each token names its own."
)
@check(needs="other", fails_on="one audience, junk tokens")
def resources_have_their_own_audience(target: Target) -> None:
    own = target.login().claims["aud"]
    other = target.login(client_id=target.other_client).claims["aud"]
    assert own != other, f"both tokens are for {own!r}"


@requirement(
    "RFC 9700", "2.3", "MUST", "An API refuses a token that was issued for another resource server."
)
@check(needs="api other", fails_on="credulous API, deaf API")
def token_of_another_resource_is_refused(target: Target) -> None:
    target.accepts(target.login().access)
    target.refuses(target.login(client_id=target.other_client).access, "another API's token")
