"""The example vectors of RFC 7515, 7516, 7518, 7519, 7520, 7638 and 8037, named by section.

What our allow-list has must pass through our code and give exactly the RFC's bytes. What it has
not must be refused by our code while another library accepts it, so that no refusal is owed to a
fixture that was copied wrong. No RFC has a JWE example within our allow-list: there, the RFCs'
key agreements are carried to a token by hand, and the RFCs' tokens opened under a wider list.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from harness import jose_oracle as oracle
from joserfc.jwk import ECKey, JWKRegistry, OKPKey

from keys import KeyRingError, load_public_jwk, thumbprint
from tokens import VerificationKey, sealing, verify_jws
from tokens.errors import AlgorithmRefused, InvalidClaim, TokenError

ALL = {
    path.stem.removeprefix("rfc"): json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parent / "vectors").glob("rfc*.json"))
}
PRIVATE = {"d", "p", "q", "dp", "dq", "qi"}
CODES = {
    "alg": "algorithm_refused",
    "enc": "algorithm_refused",
    "header": "header_refused",
    "serialization": "malformed",
}
# Everything that any caller of ours allows, all at once.
JWE_ALGORITHMS = (*sealing.AGREEMENT_ALGORITHMS, "dir")


def chosen(**wanted: Any) -> list[Any]:
    """The fixtures with these members, as parameters named by RFC and section."""
    return [
        pytest.param(vector, id=name)
        for name, vector in ALL.items()
        if all(
            name in vector if value is ... else vector.get(name) == value
            for name, value in wanted.items()
        )
    ]


def verification_key(jwk: dict[str, Any], alg: str) -> VerificationKey:
    """The RFC's public key, through our own loader."""
    public = {name: value for name, value in jwk.items() if name not in PRIVATE}
    kid, alg, key = load_public_jwk({"kid": "rfc", **public, "alg": alg})
    return VerificationKey.of(kid, alg, key)


@pytest.fixture(scope="module")
def any_key() -> VerificationKey:
    """Some trusted key, for tokens that must be refused before any key matters."""
    return VerificationKey.of("any", "ES256", ec.generate_private_key(ec.SECP256R1()).public_key())


def no_key(_header: dict[str, Any]) -> Any:
    pytest.fail("a key was looked up for a token that its header alone condemns")


def variations(token: str) -> list[str]:
    """Each character in turn replaced by a neighbour, by a distant one, and by a foreign one."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = []
    for position, character in enumerate(token):
        index = alphabet.find(character)
        others = "A=" if index < 0 else alphabet[index ^ 1] + alphabet[index ^ 32] + ".="
        changed += [token[:position] + other + token[position + 1 :] for other in others]
    return changed


def refusals(attempt: Any, tokens: list[str]) -> list[str]:
    """Those of `tokens` that were not refused."""
    passed = []
    for token in tokens:
        try:
            attempt(token)
        except TokenError:
            continue
        passed.append(token)
    return passed


def test_every_section_asked_for_is_there() -> None:
    """The examples of each RFC are all present, so that none is dropped unseen."""
    assert set(ALL) == {
        *(f"7515_{s}" for s in ("a_1", "a_2", "a_3", "a_4", "a_5", "a_6", "a_7", "e")),
        *(f"7516_a_{n}" for n in range(1, 6)),
        "7518_c",
        *(f"7519_{s}" for s in ("3_1", "6_1", "a_1", "a_2")),
        *(f"7520_4_{n}" for n in range(1, 9)),
        *(f"7520_5_{n}" for n in range(1, 14)),
        *("7520_6", "7520_6_jws", "7638_3_1"),
        *(f"8037_a_{n}" for n in range(1, 8)),
    }


def test_every_algorithm_of_ours_has_a_vector() -> None:
    """Each signature algorithm of the allow-list is held to at least one RFC's bytes."""
    supported = {v.values[0]["algorithm"] for v in chosen(payload_utf8=..., supported=True)}
    assert supported == {"ES256", "EdDSA", "PS256", "RS256"}


@pytest.mark.parametrize("vector", chosen(payload_utf8=..., supported=True))
def test_supported_signature_verifies(vector: dict[str, Any]) -> None:
    """A supported JWS gives exactly the RFC's payload, from us and from both oracles."""
    payload = vector["payload_utf8"].encode()
    token, alg = vector["token"], vector["algorithm"]
    assert verify_jws(token, verification_key(vector["key"], alg)) == payload
    assert oracle.joserfc_verified(vector) == payload
    public = JWKRegistry.import_key(vector["key"]).public_key
    assert oracle.pyjwt_payload(token, public, alg) == payload


@pytest.mark.parametrize("vector", chosen(payload_utf8=..., supported=True))
def test_supported_signature_survives_no_change(vector: dict[str, Any]) -> None:
    """Changing any single character of a valid JWS has it refused."""
    key = verification_key(vector["key"], vector["algorithm"])
    assert refusals(lambda token: verify_jws(token, key), variations(vector["token"])) == []


@pytest.mark.parametrize("vector", chosen(payload_utf8=..., supported=True))
def test_supported_signature_needs_its_own_algorithm(
    vector: dict[str, Any], any_key: VerificationKey
) -> None:
    """A valid JWS is refused under a key that is bound to another algorithm."""
    key = verification_key(vector["key"], vector["algorithm"])
    other = "RS256" if vector["algorithm"] == "ES256" else "ES256"
    with pytest.raises(AlgorithmRefused):
        verify_jws(vector["token"], VerificationKey(key.kid, other, key.verify))


@pytest.mark.parametrize("vector", chosen(payload_utf8=..., supported=False))
def test_unsupported_signature_is_refused(vector: dict[str, Any], any_key: VerificationKey) -> None:
    """A JWS outside our allow-list is refused for the reason that its fixture names."""
    with pytest.raises(TokenError) as refused:
        verify_jws(vector["token"], any_key)
    assert refused.value.code == CODES[vector["refusal"]]


@pytest.mark.parametrize("vector", chosen(payload_utf8=..., supported=False))
def test_unsupported_signature_is_valid_elsewhere(vector: dict[str, Any]) -> None:
    """joserfc verifies every JWS that we refuse, but for the one that must not be accepted."""
    if (vector["rfc"], vector["section"]) == ("7515", "E"):
        with pytest.raises(oracle.JoseError, match="UNDEFINED"):
            oracle.joserfc_verified(vector)
    else:
        assert oracle.joserfc_verified(vector) == vector["payload_utf8"].encode()


@pytest.mark.parametrize("vector", chosen(algorithm="ES512") + chosen(algorithm="PS384"))
def test_no_key_is_bound_to_an_unsupported_algorithm(vector: dict[str, Any]) -> None:
    """A key cannot even be bound to an algorithm outside the allow-list."""
    public = JWKRegistry.import_key(vector["key"]).public_key
    for alg in (vector["algorithm"], "ES256", "EdDSA"):
        with pytest.raises(AlgorithmRefused):
            VerificationKey.of("rfc", alg, public)


@pytest.mark.parametrize("vector", chosen(plaintext_utf8=...))
def test_encryption_outside_the_allow_list_is_refused(vector: dict[str, Any]) -> None:
    """A JWE outside our allow-list is refused, for the reason named, before a key is sought."""
    with pytest.raises(TokenError) as refused:
        sealing.decrypt(vector["token"], no_key, algorithms=JWE_ALGORITHMS)
    assert refused.value.code == CODES[vector["refusal"]]


@pytest.mark.parametrize("vector", chosen(plaintext_utf8=...))
def test_refused_encryption_opens_elsewhere(vector: dict[str, Any]) -> None:
    """joserfc opens every JWE that we refuse, and a nested JWT's inner signature verifies."""
    plaintext = oracle.joserfc_decrypted(vector)
    assert plaintext == vector["plaintext_utf8"].encode()
    if "nested_key" in vector:
        inner = plaintext.decode()
        alg = json.loads(oracle.unb64u(inner.split(".")[0]))["alg"]
        payload = verify_jws(inner, verification_key(vector["nested_key"], alg))
        assert payload == vector["nested_payload_utf8"].encode()


@pytest.mark.parametrize("vector", chosen(plaintext_utf8=..., serialization="compact"))
def test_wider_allow_list_opens_the_vector(vector: dict[str, Any]) -> None:
    """Our strict parsing stands in no RFC example's way: where a caller allows the algorithm, the
    RFC's plaintext comes out, unless compression or a password sits in the header."""
    key = JWKRegistry.import_key(vector["key"])

    def attempt() -> sealing.Jwe:
        with oracle.deprecated_algorithms():
            return sealing.decrypt(
                vector["token"],
                lambda _header: key,  # type: ignore[arg-type, return-value]
                algorithms=(vector["algorithm"],),
                encryption=vector["encryption"],
            )

    if vector["refusal"] == "header":
        with pytest.raises(TokenError) as refused:
            attempt()
        assert refused.value.code == "header_refused"
    else:
        assert attempt().plaintext == vector["plaintext_utf8"].encode()


@pytest.mark.parametrize("vector", chosen(kind="agreement"))
def test_key_agreement_gives_the_secret(vector: dict[str, Any]) -> None:
    """The RFC's two keys agree on the RFC's secret from both ends, by `cryptography` alone."""
    secret = oracle.unb64u(vector["shared_secret"])
    assert _exchange(vector["key"], vector["ephemeral_key"]) == secret
    assert _exchange(vector["ephemeral_key"], vector["key"]) == secret
    if "derived_key" in vector:
        derived = oracle.concat_kdf(secret, vector["header"])
        assert derived == oracle.unb64u(vector["derived_key"])


def _exchange(private: dict[str, Any], public: dict[str, Any]) -> bytes:
    key: ECKey | OKPKey = JWKRegistry.import_key(private)  # type: ignore[assignment]
    return key.exchange_derive_key(JWKRegistry.import_key(public))  # type: ignore[arg-type]


def agreed_token(vector: dict[str, Any], **members: Any) -> str:
    """A token sealed by hand under the RFC's agreed secret, by its header with `members`."""
    header = {**vector["header"], **members}
    return oracle.seal_with_secret(header, oracle.unb64u(vector["shared_secret"]), b"a.b.c")


def recipient(vector: dict[str, Any], alg: str) -> sealing.Recipient:
    return sealing.Recipient.from_jwk({**vector["key"], "kid": "rfc", "alg": alg})


OURS = {"enc": "A256GCM", "cty": "JWT", "kid": "rfc"}
AGREEMENTS = [
    pytest.param(ALL[name], alg, id=f"{name}-{alg}")
    for name in ("7518_c", "8037_a_6")
    for alg in sealing.AGREEMENT_ALGORITHMS
]


@pytest.mark.parametrize(("vector", "alg"), AGREEMENTS)
def test_agreed_secret_opens_a_sealed_token(vector: dict[str, Any], alg: str) -> None:
    """Under our algorithms, a token made by hand from the RFC's secret is unsealed."""
    token = agreed_token(vector, alg=alg, **OURS)
    assert sealing.unseal(token, {"rfc": recipient(vector, alg)}) == "a.b.c"


@pytest.mark.parametrize(("vector", "alg"), AGREEMENTS)
def test_sealed_token_survives_no_change(vector: dict[str, Any], alg: str) -> None:
    """Changing any single character of a sealed token has it refused, never a stray exception."""
    ours = {"rfc": recipient(vector, alg)}
    tampered = variations(agreed_token(vector, alg=alg, **OURS))
    assert refusals(lambda token: sealing.unseal(token, ours), tampered) == []


@pytest.mark.parametrize("vector", chosen(kind="agreement", refusal="enc"))
def test_agreement_with_weaker_encryption_is_refused(vector: dict[str, Any]) -> None:
    """Key agreement that we allow, followed by content encryption that we do not, is refused."""
    with pytest.raises(AlgorithmRefused):
        sealing.decrypt(agreed_token(vector), no_key, algorithms=JWE_ALGORITHMS)


@pytest.mark.parametrize("vector", chosen(kind="agreement", refusal="alg"))
def test_agreement_with_weaker_wrapping_is_refused(vector: dict[str, Any]) -> None:
    """X25519 with a 128-bit key wrap is refused, though the curve itself is one of ours."""
    with pytest.raises(AlgorithmRefused):
        sealing.decrypt(agreed_token(vector), no_key, algorithms=JWE_ALGORITHMS)


@pytest.mark.parametrize("vector", chosen(kind="agreement", refusal="crv"))
def test_agreement_on_a_foreign_curve_is_refused(vector: dict[str, Any]) -> None:
    """An X448 key is refused as a recipient, and an X448 ephemeral key by a recipient of ours."""
    alg = vector["algorithm"]
    with pytest.raises(InvalidClaim) as refused:
        recipient(vector, alg)
    assert refused.value.claim == "crv"
    for ours in ("7518_c", "8037_a_6"):
        with pytest.raises(TokenError) as unsealed:
            sealing.unseal(agreed_token(vector, **OURS), {"rfc": recipient(ALL[ours], alg)})
        assert unsealed.value.code == "bad_signature"


@pytest.mark.parametrize("vector", chosen(kind="thumbprint"))
def test_thumbprint(vector: dict[str, Any]) -> None:
    """Our thumbprint of the RFC's key is the RFC's."""
    assert thumbprint(vector["key"]) == vector["thumbprint"]
    assert JWKRegistry.import_key(vector["key"]).thumbprint() == vector["thumbprint"]


def test_ed25519_keys_and_signature_belong_together() -> None:
    """RFC 8037's private key has its public key, and signs its example to the same bytes."""
    private = JWKRegistry.import_key(ALL["8037_a_1"]["key"]).private_key
    public = JWKRegistry.import_key(ALL["8037_a_2"]["key"]).public_key
    assert private.public_key() == public
    signing_input, _, signature = ALL["8037_a_4"]["token"].rpartition(".")
    assert private.sign(signing_input.encode()) == oracle.unb64u(signature)


def test_private_jwk_is_no_verification_key() -> None:
    """RFC 8037's private key is refused where a public one belongs."""
    with pytest.raises(KeyRingError, match="private"):
        load_public_jwk({"kid": "rfc", **ALL["8037_a_1"]["key"], "alg": "EdDSA"})
