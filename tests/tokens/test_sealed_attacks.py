"""Sealed and refresh tokens that somebody has worked on: each a refusal with its code."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from harness.jose_oracle import b64u, unb64u
from joserfc import jwe
from joserfc.jwk import ECKey, OctKey, OKPKey

from keys import KeyRing, RotationPolicy, rotate
from tokens import Recipient, RefreshClaims, RefreshSealer, TokenError, seal, unseal
from tokens.compact import MAX_HEADER
from tokens.sealing import MAX_REFRESH, MAX_SEALED

NOW = 1_800_000_000
ISSUER = "https://id.example"
RING = rotate(KeyRing(), NOW, RotationPolicy())
SEALER = RefreshSealer(ISSUER, lambda: RING)
REFRESH = RefreshClaims(
    iss=ISSUER, sub="somebody", sid="B" * 21 + "A", client_id="app", gen=3, exp=NOW + 1000
)
CONTENT = "eyJ.signed.token"
KEYS: dict[str, Any] = {
    "P-256": ECKey.generate_key("P-256"),
    "X25519": OKPKey.generate_key("X25519"),
}


def recipient(curve: str, alg: str) -> Recipient:
    """An audience's key with its private half."""
    return Recipient.from_jwk({**KEYS[curve].as_dict(private=True), "kid": "k", "alg": alg})


SUITES = [(curve, alg) for curve in KEYS for alg in ("ECDH-ES+A256KW", "ECDH-ES")]
ONE = recipient("P-256", "ECDH-ES+A256KW")
SEALED = seal(CONTENT, ONE)


def header_of(token: str) -> dict[str, Any]:
    return dict(json.loads(unb64u(token.split(".", maxsplit=1)[0])))


def with_header(token: str, header: Any) -> str:
    """The token under another header; its other parts stay."""
    _, *rest = token.split(".")
    return ".".join([b64u(json.dumps(header).encode()), *rest])


def refusal(token: str, own: Recipient = ONE) -> str:
    """The code of our refusal to unseal; anything but a `TokenError` is a failure."""
    with pytest.raises(TokenError) as refused:
        unseal(token, {"k": own})
    assert token not in str(refused.value)
    return refused.value.code


@pytest.mark.parametrize(("curve", "alg"), SUITES)
def test_every_suite_opens_what_it_sealed(curve: str, alg: str) -> None:
    """Either curve with either agreement, each seal under an ephemeral key of its own."""
    own = recipient(curve, alg)
    one, two = seal(CONTENT, own), seal(CONTENT, own)
    assert unseal(one, {"k": own}) == unseal(two, {"k": own}) == CONTENT
    assert header_of(one)["epk"] != header_of(two)["epk"]
    assert header_of(one).keys() == {"alg", "enc", "cty", "kid", "epk"}


@pytest.mark.parametrize(("curve", "alg"), SUITES)
@pytest.mark.parametrize("part", range(5))
def test_any_changed_part_is_refused(curve: str, alg: str, part: int) -> None:
    """Header, wrapped key, IV, ciphertext and tag are all authenticated."""
    own = recipient(curve, alg)
    parts = seal(CONTENT, own).split(".")
    first = parts[part][:1]
    parts[part] = ("A" if first != "A" else "B") + parts[part][1:]
    assert refusal(".".join(parts), own) in {"malformed", "bad_signature"}


OTHER_POINT = ECKey.generate_key("P-256").as_dict(private=False)


@pytest.mark.parametrize(
    "epk",
    [
        None,
        "text",
        7,
        True,
        [],
        ["x"],
        {},
        {"kty": "EC"},
        {"kty": "EC", "crv": "P-256"},
        {"kty": "EC", "crv": "P-256", "x": 1, "y": 2},
        {"kty": "EC", "crv": "P-256", "x": "", "y": ""},
        {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
        {"kty": "EC", "crv": "P-256", "x": "é", "y": "é"},
        {"kty": "EC", "crv": ["P-256"], "x": "AA", "y": "AA"},
        {**OTHER_POINT, "y": OTHER_POINT["x"]},
        ECKey.generate_key("P-384").as_dict(private=False),
        OKPKey.generate_key("X25519").as_dict(private=False),
        OctKey.generate_key(256).as_dict(private=True),
        {"kty": ["EC"]},
        {"kty": "none"},
        OTHER_POINT,
    ],
    ids=lambda epk: " ".join(sorted(epk)) if isinstance(epk, dict) else repr(epk)[:20],
)
@pytest.mark.parametrize(("curve", "alg"), SUITES)
def test_any_other_ephemeral_key_is_refused(curve: str, alg: str, epk: Any) -> None:
    """No point off the curve, no other curve, no other kind of value is computed with."""
    own = recipient(curve, alg)
    token = seal(CONTENT, own)
    code = refusal(with_header(token, {**header_of(token), "epk": epk}), own)
    assert code in {"bad_signature", "malformed"}


def test_missing_ephemeral_key_is_refused() -> None:
    """Without `epk` there is nothing to agree on."""
    header = header_of(SEALED)
    del header["epk"]
    assert refusal(with_header(SEALED, header)) == "bad_signature"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"alg": "dir"}, "algorithm_refused"),
        ({"alg": "ECDH-ES"}, "algorithm_refused"),
        ({"alg": "ECDH-ES+A128KW"}, "algorithm_refused"),
        ({"alg": "RSA1_5"}, "algorithm_refused"),
        ({"alg": "RSA-OAEP"}, "algorithm_refused"),
        ({"alg": "PBES2-HS256+A128KW"}, "algorithm_refused"),
        ({"alg": "none"}, "algorithm_refused"),
        ({"alg": None}, "algorithm_refused"),
        ({"alg": ["ECDH-ES+A256KW"]}, "algorithm_refused"),
        ({"enc": "A128CBC-HS256"}, "algorithm_refused"),
        ({"enc": "A128GCM"}, "algorithm_refused"),
        ({"enc": None}, "algorithm_refused"),
        ({"kid": "other"}, "unknown_kid"),
        ({"kid": None}, "unknown_kid"),
        ({"kid": ["k"]}, "unknown_kid"),
        ({"zip": "DEF"}, "header_refused"),
        ({"crit": ["exp"]}, "header_refused"),
        ({"jwk": OTHER_POINT}, "header_refused"),
        ({"jku": "https://evil.example"}, "header_refused"),
        ({"x5u": "https://evil.example"}, "header_refused"),
        ({"x5c": ["AA"]}, "header_refused"),
        ({"p2c": 1}, "header_refused"),
        ({"p2s": "AA"}, "header_refused"),
        ({"apu": "AA", "apv": "AA"}, "bad_signature"),
        ({"apu": 7}, "bad_signature"),
        ({"apv": {}}, "bad_signature"),
        ({"cty": "JWS"}, "bad_signature"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_changed_header_is_refused(change: dict[str, Any], code: str) -> None:
    """What could steer decryption is refused by name; any other change breaks the tag."""
    assert refusal(with_header(SEALED, {**header_of(SEALED), **change})) == code


@pytest.mark.parametrize("header", [[], "text", 7, None])
def test_header_that_is_no_object_is_refused(header: Any) -> None:
    """A header is one JSON object."""
    assert refusal(with_header(SEALED, header)) == "malformed"


def test_unmarked_content_is_refused() -> None:
    """Only content marked as a JWT is looked at (RFC 7519 section 5.2)."""
    header = {"alg": ONE.alg, "enc": "A256GCM", "kid": "k"}
    for more in ({}, {"cty": "jwt+json"}):
        given = {**header, **more}
        token = jwe.encrypt_compact(given, CONTENT, ONE.key, algorithms=[ONE.alg, "A256GCM"])
        assert refusal(token) == "wrong_type"


def test_sizes_are_capped_before_anything_is_decrypted() -> None:
    """Token and header have their caps, which no key takes part in."""
    assert refusal(SEALED + "A" * MAX_SEALED) == "too_large"
    padded = {**header_of(SEALED), "x": "y" * MAX_HEADER}
    assert refusal(with_header(SEALED, padded)) == "too_large"
    with pytest.raises(TokenError) as refused:
        SEALER.open(SEALER.mint(REFRESH) + "A" * MAX_REFRESH, NOW)
    assert refused.value.code == "too_large"


@pytest.mark.parametrize("typ", [None, "JWT", "at+jwt", "RT+JWT", "application/rt+jwt"])
def test_refresh_token_of_another_type_is_refused(typ: Any) -> None:
    """Only we make refresh tokens, so their type has one spelling; no key makes up for it."""
    key = RING.sealing()
    assert isinstance(key.private, bytes)
    header = {"alg": "dir", "enc": "A256GCM", "kid": key.kid}
    if typ is not None:
        header["typ"] = typ
    body = json.dumps(REFRESH.to_payload())
    oct_key = OctKey.import_key(key.private)
    token = jwe.encrypt_compact(header, body, oct_key, algorithms=["dir", "A256GCM"])
    with pytest.raises(TokenError) as refused:
        SEALER.open(token, NOW)
    assert refused.value.code == "wrong_type"


@pytest.mark.parametrize("name", sorted(asdict(REFRESH)))
def test_refresh_claims_are_required(name: str) -> None:
    """Each claim of a refresh token must be there, though nobody else could have made it."""
    payload = {key: value for key, value in REFRESH.to_payload().items() if key != name}

    class Incomplete(RefreshClaims):
        def to_payload(self) -> dict[str, Any]:
            return payload

    token = SEALER.mint(Incomplete(**asdict(REFRESH)))
    with pytest.raises(TokenError) as refused:
        SEALER.open(token, NOW)
    assert refused.value.code == "missing_claim"
