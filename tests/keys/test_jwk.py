"""JSON Web Keys: the RFCs' own examples, and everything a JWKS must not slip past us."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keys import (
    SEALING_ALGORITHM,
    SIGNING_ALGORITHMS,
    InvalidKey,
    Key,
    KeyRing,
    KeyState,
    PrivateKey,
    generate,
    load_public_jwk,
    public_jwk,
    thumbprint,
)
from keys.algorithms import check_fit

RFC7638_3_1 = {
    "kty": "RSA",
    "n": (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJE"
        "CPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2Q"
        "vzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6"
        "WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    ),
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
RFC8037_A_2 = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def numbers(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def ec_jwk() -> dict[str, object]:
    return dict(public_jwk(generate("ES256", 0)))


def ed_jwk() -> dict[str, object]:
    return dict(public_jwk(generate("EdDSA", 0)))


def rsa_jwk(alg: str = "RS256") -> dict[str, object]:
    return {**RFC7638_3_1, "alg": alg, "use": "sig"}


def test_thumbprint_of_rfc_7638_section_3_1() -> None:
    """The RSA example of RFC 7638 section 3.1 has the thumbprint that the RFC prints."""
    assert thumbprint(RFC7638_3_1) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_thumbprint_of_rfc_8037_appendix_a_3() -> None:
    """The Ed25519 key of RFC 8037 appendix A.2 has the thumbprint that appendix A.3 prints."""
    assert thumbprint(RFC8037_A_2) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": "AAAA"},
        {"kty": "EC", "crv": "P-256", "x": "AA"},
        {"kty": ["EC"]},
        {"kty": "OKP", "crv": "Ed25519", "x": 5},
        {"kty": "OKP", "crv": "Ed25519", "x": "\ud800"},
        {},
    ],
)
def test_thumbprint_refuses_what_has_none(jwk: Mapping[str, object]) -> None:
    """A symmetric key, a missing member and a member of the wrong type have no thumbprint."""
    with pytest.raises(InvalidKey):
        thumbprint(jwk)


@pytest.mark.parametrize("alg", SIGNING_ALGORITHMS)
def test_a_generated_key_survives_the_way_through_the_jwks(alg: str) -> None:
    """What PyJWT signs with a generated key verifies with the key read back from its JWK."""
    key = generate(alg, 7)
    jwk = public_jwk(key)
    kid, read_alg, public = load_public_jwk(jwk)
    assert (kid, read_alg, key.state, key.created) == (key.kid, alg, KeyState.PENDING, 7)
    assert kid == thumbprint(jwk)
    assert jwk["use"] == "sig"
    assert "key_ops" not in jwk
    assert isinstance(key.private, PrivateKey)
    token = jwt.encode({"sub": "a"}, key.private, algorithm=alg)
    assert jwt.decode(token, public, algorithms=[alg]) == {"sub": "a"}
    if isinstance(public, rsa.RSAPublicKey):
        assert public.key_size == 3072


def test_pyjwt_reads_the_published_set() -> None:
    """The JWKS is one that PyJWT's own reader takes, with every key in it."""
    ring = KeyRing(tuple(generate(alg, 0) for alg in ("ES256", "EdDSA", SEALING_ALGORITHM)))
    read = jwt.PyJWKSet.from_dict(ring.jwks())
    assert [key.key_id for key in read.keys] == [key.kid for key in ring.keys[:2]]


def test_the_jwks_holds_public_members_only() -> None:
    """Neither a private member nor the sealing key is ever in the JWKS."""
    ring = KeyRing(tuple(generate(alg, 0) for alg in ("ES256", "EdDSA", SEALING_ALGORITHM)))
    members = {name for jwk in ring.jwks()["keys"] for name in jwk}
    assert members == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    with pytest.raises(InvalidKey):
        public_jwk(ring.keys[2])


def test_the_sealing_kid_is_random() -> None:
    """A sealing key's id is 128 random bits and no digest of the secret."""
    first, second = generate(SEALING_ALGORITHM, 0), generate(SEALING_ALGORITHM, 0)
    assert first.kid != second.kid
    assert len(base64.urlsafe_b64decode(first.kid + "==")) == 16
    assert isinstance(first.private, bytes)
    assert len(first.private) == 32


def test_repr_shows_no_secret() -> None:
    """A key or ring that is logged shows neither the sealing secret nor a private half."""
    key = generate(SEALING_ALGORITHM, 0)
    text = repr(KeyRing((key, generate("ES256", 0))))
    assert isinstance(key.private, bytes)
    assert repr(key.private) not in text
    assert "private" not in text


def test_generate_refuses_other_algorithms() -> None:
    """No key is made for an algorithm outside the allow-list."""
    for alg in ("none", "HS256", "ES384", "", "es256"):
        with pytest.raises(ValueError, match="not a signing algorithm"):
            generate(alg, 0)


@pytest.mark.parametrize("alg", ["RS256", "PS256"])
def test_an_rsa_key_of_2048_bits_is_read(alg: str) -> None:
    """The least that RFC 7518 section 3.3 allows is accepted from others."""
    kid, read_alg, public = load_public_jwk(rsa_jwk(alg))
    assert (kid, read_alg) == ("2011-04-29", alg)
    assert isinstance(public, rsa.RSAPublicKey)


def test_a_coordinate_with_leading_zeros_keeps_its_length() -> None:
    """A P-256 coordinate below 2^248 is written with all 32 octets (RFC 7518 6.2.1.2)."""
    for scalar in range(1, 5000):
        private = ec.derive_private_key(scalar, ec.SECP256R1())
        if private.public_key().public_numbers().x < 2**248:
            break
    key = Key("k", "ES256", KeyState.PENDING, 0, public=private.public_key())
    jwk = public_jwk(key)
    assert len(jwk["x"]) == 43
    assert jwk["x"].startswith("A")
    load_public_jwk(jwk)


def test_a_coordinate_has_one_spelling() -> None:
    """Of two numbers that are one element of P-256's field, the one outside it is refused."""
    field = 2**256 - 2**224 + 2**192 + 2**96 - 1
    curve = (3, 41058363725152142129326129780047268409114441015993725554835256314039467401291)
    for x in range(1000):
        square = (x**3 - curve[0] * x + curve[1]) % field
        y = pow(square, (field + 1) // 4, field)
        if y * y % field == square:
            break
    jwk = {**ec_jwk(), "x": b64(x.to_bytes(32, "big")), "y": b64(y.to_bytes(32, "big"))}
    load_public_jwk(jwk)
    with pytest.raises(InvalidKey):
        load_public_jwk({**jwk, "x": b64((x + field).to_bytes(32, "big"))})


WITHOUT = object()


@pytest.mark.parametrize(
    ("base", "change"),
    [
        (ec_jwk, {"alg": WITHOUT}),
        (ec_jwk, {"alg": "none"}),
        (ec_jwk, {"alg": "HS256"}),
        (ec_jwk, {"alg": "EdDSA"}),
        (ec_jwk, {"alg": "ES384"}),
        (ec_jwk, {"alg": ["ES256"]}),
        (ec_jwk, {"alg": "A256GCM"}),
        (ec_jwk, {"kid": WITHOUT}),
        (ec_jwk, {"kid": ""}),
        (ec_jwk, {"kid": "k" * 257}),
        (ec_jwk, {"kid": 1}),
        (ec_jwk, {"kty": "RSA"}),
        (ec_jwk, {"crv": "P-384"}),
        (ec_jwk, {"crv": WITHOUT}),
        (ec_jwk, {"use": "enc"}),
        (ec_jwk, {"use": None}),
        (ec_jwk, {"key_ops": ["sign"]}),
        (ec_jwk, {"key_ops": ["verify", "sign"]}),
        (ec_jwk, {"d": "AA"}),
        (ec_jwk, {"k": "AA"}),
        (ec_jwk, {"x": WITHOUT}),
        (ec_jwk, {"x": b64(bytes(32)), "y": b64(bytes(32))}),
        (ec_jwk, {"y": b64(b"\1" * 32)}),
        (ec_jwk, {"x": b64(b"\xff" * 32)}),
        (ec_jwk, {"x": b64(bytes(33))}),
        (ec_jwk, {"x": b64(b"\1" * 31)}),
        (ec_jwk, {"x": "A" * 43 + "="}),
        (ec_jwk, {"x": "é" * 43}),
        (ec_jwk, {"x": "A" * 45}),
        (ed_jwk, {"crv": "Ed448"}),
        (ed_jwk, {"crv": "X25519"}),
        (ed_jwk, {"alg": "ES256"}),
        (ed_jwk, {"x": b64(bytes(31))}),
        (ed_jwk, {"x": b64(bytes(32))[:-1] + "B"}),
        (ed_jwk, {"x": None}),
        (ed_jwk, {"x": b64((2**255 - 19 + 3).to_bytes(32, "little"))}),
        (ed_jwk, {"d": "AA"}),
        (rsa_jwk, {"alg": "RS512"}),
        (rsa_jwk, {"n": numbers(2**2047 - 1)}),
        (rsa_jwk, {"n": numbers(2**8192 + 1)}),
        (rsa_jwk, {"n": "AA" + b64(b"\xff" * 255)}),
        (rsa_jwk, {"n": ""}),
        (rsa_jwk, {"e": "AA"}),
        (rsa_jwk, {"e": numbers(1)}),
        (rsa_jwk, {"e": numbers(65536)}),
        (rsa_jwk, {"e": numbers(2**32 + 1)}),
        (rsa_jwk, {"e": 65537}),
        (rsa_jwk, {"p": "AA"}),
        (rsa_jwk, {"oth": []}),
    ],
)
def test_a_bad_jwk_is_refused(base: object, change: Mapping[str, object]) -> None:
    """Each of these JWKs differs from a good one in one thing, and is refused for it."""
    assert callable(base)
    good = base()
    load_public_jwk(good)
    bad = {name: value for name, value in {**good, **change}.items() if value is not WITHOUT}
    with pytest.raises(InvalidKey) as refused:
        load_public_jwk(bad)
    assert refused.value.code == "invalid_key"
    assert refused.value.reason


P25519 = 2**255 - 19
D25519 = -121665 * pow(121666, -1, P25519) % P25519
"""RFC 8032 section 5.1."""
Point = tuple[int, int]


def plus(one: Point, other: Point) -> Point:
    """The sum of two points of edwards25519 (RFC 8032 section 5.1, in affine coordinates)."""
    (x1, y1), (x2, y2) = one, other
    product = D25519 * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P25519)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P25519)
    return x % P25519, y % P25519


def point_of(octets: bytes) -> Point | None:
    """The point that octets stand for (RFC 8032 section 5.1.3)."""
    number = int.from_bytes(octets, "little")
    y, sign = number % 2**255, number >> 255
    if y >= P25519:
        return None
    square = (y * y - 1) * pow(D25519 * y * y + 1, -1, P25519) % P25519
    x = pow(square, (P25519 + 3) // 8, P25519)
    if x * x % P25519 != square:
        x = x * pow(2, (P25519 - 1) // 4, P25519) % P25519
    if x * x % P25519 != square:
        return None
    return (P25519 - x if x % 2 != sign else x) % P25519, y


def points_of_small_order() -> set[Point]:
    """All multiples, by the group's prime order, of points: at random one in two has order 8."""
    order, found = 2**252 + 27742317777372353535851937790883648493, set()
    for number in range(2, 60):
        start = point_of(number.to_bytes(32, "little"))
        if start is None:
            continue
        left, doubled, small = order, start, (0, 1)
        while left:
            if left & 1:
                small = plus(small, doubled)
            doubled, left = plus(doubled, doubled), left >> 1
        found.add(small)
    return found


def test_no_key_of_a_small_order_is_read() -> None:
    """All eight points of a small order are refused, in each spelling, and no other key is."""
    points = points_of_small_order()
    assert len(points) == 8
    spelled = {
        (y + more | sign << 255).to_bytes(32, "little")
        for _, y in points
        for more in (0, P25519)
        for sign in (0, 1)
        if y + more < 2**255
    }
    assert len(spelled) == 14
    for octets in spelled:
        with pytest.raises(InvalidKey):
            load_public_jwk({**ed_jwk(), "x": b64(octets)})
    for _ in range(200):
        load_public_jwk(ed_jwk())


def test_an_ed25519_key_reads_back_its_octets() -> None:
    """RFC 8037 appendix A.2's public key is read to the same 32 octets."""
    _, _, public = load_public_jwk({**RFC8037_A_2, "kid": "a", "alg": "EdDSA"})
    assert b64(public.public_bytes(Encoding.Raw, PublicFormat.Raw)) == RFC8037_A_2["x"]


@pytest.mark.parametrize(
    ("alg", "private"),
    [
        ("ES256", ec.generate_private_key(ec.SECP384R1())),
        ("EdDSA", ec.generate_private_key(ec.SECP256R1())),
        ("RS256", ed25519.Ed25519PrivateKey.generate()),
        ("HS256", ed25519.Ed25519PrivateKey.generate()),
        ("EdDSA", x25519.X25519PrivateKey.generate()),
    ],
)
def test_one_key_one_algorithm(alg: str, private: Any) -> None:
    """A key object is refused for an algorithm that is not its own (RFC 8725 section 3.1)."""
    with pytest.raises(InvalidKey):
        check_fit(alg, private.public_key())
