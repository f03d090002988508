"""Access tokens: what is required, and where the boundaries lie.

Which attacks are refused: tests/attacks.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from freezegun import freeze_time
from joserfc.jwk import ECKey

from keys import Key, KeyRing, RotationPolicy, generate, rotate
from tokens import (
    AccessClaims,
    AccessVerifier,
    AlgorithmRefused,
    InvalidClaim,
    MissingClaim,
    Recipient,
    RefreshClaims,
    RefreshSealer,
    TokenError,
    TooLarge,
    UnknownKid,
    VerificationKey,
    seal,
    sign,
    strict_json,
    unseal,
)
from tokens.compact import MAX_HEADER, MAX_TOKEN

NOW = 1_800_000_000
LEEWAY = 10
LONGEST = 3600
ISSUER = "https://id.example"
AUDIENCE = "orders"
RING = rotate(KeyRing(), NOW, RotationPolicy(algorithms=("ES256", "EdDSA")))
KEY = RING.active("ES256")
CLAIMS = AccessClaims(
    iss=ISSUER,
    sub="somebody",
    aud=(AUDIENCE,),
    client_id="app",
    iat=NOW,
    exp=NOW + 300,
    jti="A" * 21 + "A",
    sid="B" * 21 + "A",
    auth_time=NOW - 60,
    sub_ver=1,
    amr=("pwd",),
    scope="read write",
    roles=("editor",),
)
PAYLOAD = CLAIMS.to_payload()
HEADER = {"alg": "ES256", "typ": "at+jwt", "kid": KEY.kid}


def b64(data: bytes | dict[str, Any] | str) -> str:
    raw = data if isinstance(data, bytes) else data if isinstance(data, str) else json.dumps(data)
    octets = raw if isinstance(raw, bytes) else raw.encode()
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def find_key(kid: str) -> VerificationKey:
    key = RING.verification_keys().get(kid)
    if key is None or key.public is None:
        raise UnknownKid(kid)
    return VerificationKey.of(kid, key.alg, key.public)


def verifier(now: float = NOW, **options: Any) -> AccessVerifier:
    settings: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "find_key": find_key,
        "leeway": LEEWAY,
        "max_lifetime": LONGEST,
        "clock": lambda: now,
    }
    return AccessVerifier(**{**settings, **options})


def signed(payload: dict[str, Any], header: dict[str, Any] | None = None, key: Key = KEY) -> str:
    """Any payload under any header, with a signature that is right."""
    given = header or HEADER
    return jwt.encode(payload, key.private, algorithm=key.alg, headers=given)


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(TokenError) as refusal:
        call()
    return refusal.value.code


def test_what_was_signed_comes_back() -> None:
    """Verification returns the very claims that were signed, with the key that signed them."""
    assert verifier().verify_with_key(sign(CLAIMS, KEY)) == (CLAIMS, KEY.kid)
    assert verifier().verify(sign(CLAIMS, RING.active("EdDSA"))) == CLAIMS


@pytest.mark.parametrize("claim", sorted(set(PAYLOAD) - {"roles"}))
def test_a_required_claim_is_required(claim: str) -> None:
    """Without any one of the claims of RFC 9068 section 2.2 and our own a token is refused."""
    payload = {name: value for name, value in PAYLOAD.items() if name != claim}
    with pytest.raises(MissingClaim) as refusal:
        verifier().verify(signed(payload))
    assert refusal.value.claim == claim


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("iss", ""),
        ("sub", 7),
        ("sub", None),
        ("aud", []),
        ("aud", [7]),
        ("aud", {"orders": 1}),
        ("client_id", ["app"]),
        ("iat", str(NOW)),
        ("iat", True),
        ("iat", NOW + 0.5),
        ("exp", -1),
        ("exp", 1 << 60),
        ("jti", "short"),
        ("jti", "A" * 21 + "B"),
        ("jti", "A" * 21 + "="),
        ("jti", "A" * 22 + "\n"),
        ("sid", "B" * 43),
        ("auth_time", None),
        ("sub_ver", "1"),
        ("amr", "pwd"),
        ("amr", [""]),
        ("scope", "two  spaces"),
        ("scope", 'quo"te'),
        ("scope", ["read"]),
        ("roles", "editor"),
        ("acr", ""),
        ("acr", ["aal2"]),
        ("acr", None),
        ("nbf", "soon"),
    ],
)
def test_a_claim_of_another_form_is_refused(claim: str, value: object) -> None:
    """Each claim has one form, whatever a lenient reader might make of another."""
    payload = {**PAYLOAD, claim: value}
    assert code_of(lambda: verifier().verify(signed(payload))) == "invalid_claim"


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (NOW + 300 + LEEWAY - 1, None),
        (NOW + 300 + LEEWAY - 0.001, None),
        (NOW + 300 + LEEWAY, "expired"),
        (NOW + 300 + LEEWAY + 1, "expired"),
        (NOW - LEEWAY, None),
        (NOW - LEEWAY - 1, "not_yet_valid"),
    ],
)
def test_the_boundaries_of_time_are_exact(now: float, code: str | None) -> None:
    """Expired at `exp` plus leeway exactly; not from the future beyond the leeway."""
    token = signed({**PAYLOAD, "auth_time": NOW - 1000})
    if code is None:
        assert verifier(now).verify(token).exp == NOW + 300
    else:
        assert code_of(lambda: verifier(now).verify(token)) == code


@pytest.mark.parametrize(("leeway", "offset", "fine"), [(0, -1, True), (0, 0, False)])
def test_without_leeway_a_token_ends_at_exp(leeway: int, offset: int, fine: bool) -> None:
    """RFC 7519 section 4.1.4: not accepted on or after `exp`, by the machine's clock."""
    token = signed(PAYLOAD)
    with freeze_time(datetime.fromtimestamp(NOW + 300 + offset, UTC)):
        from_the_clock = AccessVerifier(
            issuer=ISSUER,
            audience=AUDIENCE,
            find_key=find_key,
            leeway=leeway,
            clock=lambda: time.time(),  # noqa: PLW0108 - looked up when called
        )
        if fine:
            from_the_clock.verify(token)
        else:
            assert code_of(lambda: from_the_clock.verify(token)) == "expired"


@pytest.mark.parametrize(
    ("iat", "exp", "code"),
    [
        (NOW, NOW + LONGEST, None),
        (NOW, NOW + LONGEST + 1, "lifetime_too_long"),
        (NOW, NOW, "lifetime_too_long"),
        (NOW + 5, NOW + 4, "lifetime_too_long"),
    ],
)
def test_the_lifetime_has_a_maximum(iat: int, exp: int, code: str | None) -> None:
    """A token that outlives the longest lifetime could outlive its denylist entry."""
    token = signed({**PAYLOAD, "iat": iat, "exp": exp})
    if code is None:
        verifier().verify(token)
    else:
        assert code_of(lambda: verifier().verify(token)) == code


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"iss": "https://id.example/"}, "wrong_issuer"),
        ({"iss": "https://ID.example"}, "wrong_issuer"),
        ({"aud": "billing"}, "wrong_audience"),
        ({"aud": ["billing", "orders2"]}, "wrong_audience"),
        ({"aud": "order"}, "wrong_audience"),
        ({"auth_time": NOW + LEEWAY + 1}, "invalid_claim"),
        ({"nbf": NOW + LEEWAY + 1}, "not_yet_valid"),
    ],
)
def test_a_token_for_somebody_else_or_later_is_refused(changed: dict[str, Any], code: str) -> None:
    """Issuer and audience match exactly (RFC 8725 sections 3.8, 3.9)."""
    assert code_of(lambda: verifier().verify(signed({**PAYLOAD, **changed}))) == code


def test_one_of_several_audiences_is_enough() -> None:
    """A token for two APIs passes at each; a verifier for several takes any of them."""
    both = signed({**PAYLOAD, "aud": ["billing", AUDIENCE]})
    assert verifier().verify(both).aud == ("billing", AUDIENCE)
    assert verifier(audience=["billing", "stock"]).verify(both)
    assert code_of(lambda: verifier(audience=["stock"]).verify(both)) == "wrong_audience"


@pytest.mark.parametrize("leeway", [-1, 61])
def test_a_leeway_beyond_the_entries_life_is_refused(leeway: int) -> None:
    """Nobody may forgive more than the denylist's entries outlive tokens by."""
    with pytest.raises(ValueError, match="leeway"):
        verifier(leeway=leeway)


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_the_type_may_be_spelt_as_the_rfc_lets_it(typ: str) -> None:
    """RFC 9068 section 4 with RFC 7515 section 4.1.9."""
    verifier().verify(signed(PAYLOAD, {**HEADER, "typ": typ}))


OWN_KEY = generate("ES256", NOW)


def forged(header: dict[str, Any], signature: bytes = b"") -> str:
    return f"{b64(header)}.{b64(PAYLOAD)}.{b64(signature)}"


GOOD = sign(CLAIMS, KEY)


def test_every_flipped_character_is_refused() -> None:
    """No single change of a token is another valid token."""
    check = verifier()
    for index, character in enumerate(GOOD):
        other = "A" if character != "A" else "B"
        if character == ".":
            other = "_"
        with pytest.raises(TokenError):
            check.verify(GOOD[:index] + other + GOOD[index + 1 :])


@pytest.mark.parametrize(
    "token", [".".join(["A" * (MAX_TOKEN + 1)] * 3), "A" * (MAX_HEADER + 4) + ".e30.AAAA"]
)
def test_sizes_are_checked_before_anything_is_parsed(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An oversize token costs no decoding at all."""

    def parsed(_raw: bytes) -> dict[str, Any]:
        raise AssertionError("it was parsed")

    monkeypatch.setattr(strict_json, "loads_object", parsed)
    with pytest.raises(TooLarge):
        verifier().verify(token)


def test_a_header_is_read_once() -> None:
    """The cache holds what was read, is bounded, and never stands in for the key."""
    check = verifier()
    check.verify(GOOD)
    check.verify(sign(replace(CLAIMS, jti="C" * 21 + "A"), KEY))
    for number in range(500):
        with pytest.raises(TokenError):
            check.verify(forged({**HEADER, "kid": f"k{number}"}))
    assert check.verify(GOOD) == CLAIMS


def test_extra_claims_pass_through_and_known_ones_may_not_hide_there() -> None:
    """Further claims come back as they were; one that names a known claim is an error."""
    claims = replace(CLAIMS, extra={"tenant": "north", "limits": {"daily": 7}})
    assert verifier().verify(sign(claims, KEY)).extra == {"tenant": "north", "limits": {"daily": 7}}
    with pytest.raises(InvalidClaim):
        sign(replace(CLAIMS, extra={"sub": "admin"}), KEY)


def test_a_key_that_may_not_sign_does_not() -> None:
    """Neither a retiring key nor the sealing key signs an access token."""
    with pytest.raises(AlgorithmRefused):
        sign(CLAIMS, replace(KEY, private=None))
    with pytest.raises(AlgorithmRefused):
        sign(CLAIMS, RING.sealing())


# Kinds never mix.

SEALER = RefreshSealer(ISSUER, lambda: RING)
REFRESH = RefreshClaims(
    iss=ISSUER, sub="somebody", sid="B" * 21 + "A", client_id="app", gen=3, exp=NOW + 1000
)
AUDIENCE_JWK = ECKey.generate_key("P-256", {"kid": "aud-1"}).as_dict(private=True)
PRIVATE = Recipient.from_jwk(AUDIENCE_JWK)
PUBLIC = Recipient.from_jwk({k: v for k, v in AUDIENCE_JWK.items() if k != "d"})
RECIPIENTS = {"aud-1": PRIVATE}


def test_a_refresh_token_is_no_access_token() -> None:
    """With or without decryption keys, a verifier of access tokens refuses it."""
    token = SEALER.mint(REFRESH)
    assert code_of(lambda: verifier().verify(token)) == "malformed"
    assert code_of(lambda: verifier(recipients=RECIPIENTS).verify(token)) == "algorithm_refused"


@pytest.mark.parametrize("token", [GOOD, seal(GOOD, PUBLIC)], ids=["signed", "sealed"])
def test_an_access_token_is_no_refresh_token(token: str) -> None:
    """Neither kind of access token opens as a refresh token."""
    assert code_of(lambda: SEALER.open(token, NOW)) in {
        "malformed",
        "algorithm_refused",
        "too_large",
    }


def test_a_sealed_token_needs_its_audience() -> None:
    """The audience verifies both layers; others, and a stranger's seal, are refused."""
    sealed = seal(GOOD, PUBLIC)
    assert verifier(recipients=RECIPIENTS).verify(sealed) == CLAIMS
    assert code_of(lambda: verifier().verify(sealed)) == "malformed"
    forged_inside = seal(signed(PAYLOAD, HEADER, OWN_KEY), PUBLIC)
    assert code_of(lambda: verifier(recipients=RECIPIENTS).verify(forged_inside)) == "bad_signature"
    refresh_inside = seal(SEALER.mint(REFRESH), PUBLIC)
    assert code_of(lambda: verifier(recipients=RECIPIENTS).verify(refresh_inside)) == "malformed"


def test_an_audience_may_insist_on_sealed_tokens() -> None:
    """With `require_sealed` a token that is only signed is refused."""
    strict = verifier(recipients=RECIPIENTS, require_sealed=True)
    assert strict.verify(seal(GOOD, PUBLIC)) == CLAIMS
    assert code_of(lambda: strict.verify(GOOD)) == "wrong_type"


def test_sealing_twice_gives_different_tokens_of_the_same_content() -> None:
    """Each seal has its own ephemeral key, and leaves no trace in the recipient."""
    one, two = seal(GOOD, PUBLIC), seal(GOOD, PUBLIC)
    assert one != two
    assert unseal(one, RECIPIENTS) == unseal(two, RECIPIENTS) == GOOD


# Refresh tokens.


def test_minting_again_gives_the_same_claims_under_another_iv() -> None:
    """The same generation can be made again at any time; never the same ciphertext."""
    one, two = SEALER.mint(REFRESH), SEALER.mint(REFRESH)
    assert one.split(".")[2] != two.split(".")[2]
    assert SEALER.open(one, NOW) == SEALER.open(two, NOW) == REFRESH


@pytest.mark.parametrize(("offset", "fine"), [(-1, True), (0, False), (1, False)])
def test_a_refresh_token_ends_at_exp_exactly(offset: int, fine: bool) -> None:
    """No leeway: it is the issuer's own clock."""
    token = SEALER.mint(REFRESH)
    if fine:
        assert SEALER.open(token, REFRESH.exp + offset) == REFRESH
    else:
        assert code_of(lambda: SEALER.open(token, REFRESH.exp + offset)) == "expired"


def test_an_older_sealing_key_still_opens() -> None:
    """After a rotation the old key opens what it sealed, and the new one seals."""
    policy = RotationPolicy()
    ring = rotate(KeyRing(), NOW, policy)
    token = RefreshSealer(ISSUER, lambda: ring).mint(REFRESH)
    later = rotate(ring, NOW + policy.sealing_period - policy.lead, policy)
    later = rotate(later, NOW + policy.sealing_period, policy)
    assert later.sealing().kid != ring.sealing().kid
    rotated = RefreshSealer(ISSUER, lambda: later)
    assert rotated.open(token, NOW) == REFRESH
    assert code_of(
        lambda: RefreshSealer(ISSUER, lambda: ring).open(rotated.mint(REFRESH), NOW)
    ) == ("unknown_kid")


def test_another_issuers_refresh_token_is_refused() -> None:
    """Two issuers that share a ring do not take each other's tokens."""
    other = RefreshSealer("https://other.example", lambda: RING)
    assert code_of(lambda: other.open(SEALER.mint(REFRESH), NOW)) == "wrong_issuer"


@pytest.mark.parametrize("part", range(5))
def test_a_refresh_token_with_any_part_changed_is_refused(part: int) -> None:
    """Header, key, IV, ciphertext and tag are all authenticated."""
    parts = SEALER.mint(REFRESH).split(".")
    first = parts[part][:1]
    parts[part] = ("A" if first != "A" else "B") + parts[part][1:]
    with pytest.raises(TokenError):
        SEALER.open(".".join(parts), NOW)


def test_a_signing_key_opens_no_refresh_token() -> None:
    """A `kid` of another kind of key is as good as an unknown one."""
    parts = SEALER.mint(REFRESH).split(".")
    header = {"alg": "dir", "enc": "A256GCM", "typ": "rt+jwt", "kid": KEY.kid}
    assert code_of(lambda: SEALER.open(".".join([b64(header), *parts[1:]]), NOW)) == "unknown_kid"


@pytest.mark.parametrize(
    "jwk",
    [
        {**AUDIENCE_JWK, "kid": ""},
        {**AUDIENCE_JWK, "crv": "P-384"},
        {**AUDIENCE_JWK, "alg": "RSA-OAEP"},
        {**AUDIENCE_JWK, "x": "AAAA"},
        {"kty": "oct", "k": "AAAA", "kid": "x"},
    ],
)
def test_an_encryption_key_of_another_kind_is_refused(jwk: dict[str, Any]) -> None:
    """Only P-256 and X25519 with ECDH-ES, and only points of the curve."""
    with pytest.raises(InvalidClaim):
        Recipient.from_jwk(jwk)


def test_curve_confusion_is_refused() -> None:
    """A key of another curve cannot be bound to ES256 (RFC 8725 section 3.1)."""
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(AlgorithmRefused):
        VerificationKey.of("k", "ES256", other)
    with pytest.raises(AlgorithmRefused):
        VerificationKey.of("k", "RS256", KEY.public)  # type: ignore[arg-type]
