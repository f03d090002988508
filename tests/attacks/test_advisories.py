"""Published advisories of other people's JOSE about forms, claims and encryption.

docs/advisories.md has the table; `test_advisory_table.py` holds the two together.
"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from harness.attack_material import Material
from harness.attacks_all import ATTACKS, refused
from harness.jose_oracle import seal_with_secret
from joserfc.jwk import ECKey

from tokens import (
    BadSignature,
    InvalidClaim,
    TokenError,
    UnknownKid,
)

# --- Header members, forms and sizes


def test_cve_2025_59420_unknown_critical_headers(material: Material) -> None:
    """`crit` with whatever in it (RFC 7515 section 4.1.11)."""
    refused(material, "crit ")


def test_cve_2026_32597_unknown_critical_headers(material: Material) -> None:
    """The same in PyJWT, which signs our tokens."""
    refused(material, "crit ['cnf']", "crit ['x']")


def test_cve_2026_48525_work_amplifier_of_detached_payloads(material: Material) -> None:
    """`b64` is refused before the payload is decoded."""
    refused(material, "a work amplifier", "b64 false")


def test_cve_2026_48990_oversize_unencoded_payloads(material: Material) -> None:
    """The same in joserfc; sizes are capped before anything else."""
    refused(material, "an unencoded payload", "a large claim")


def test_cve_2026_62995_padding_makes_another_token(material: Material) -> None:
    """A revoked token cannot be spelt anew with padding."""
    refused(material, "the signature padded", "the payload padded", "the header padded")


def test_cve_2026_102269_characters_that_a_decoder_skips(material: Material) -> None:
    """Nor with characters that a decoder passes over."""
    refused(material, "the signature with a foreign", "the signature with unused bits")


def test_cve_2026_137561_encrypted_key_that_nothing_covers(material: Material) -> None:
    """`dir` and ECDH-ES have no encrypted key, and the tag would not cover one."""
    refused(
        material,
        "a refresh token with another encrypted key",
        "a sealed token with another encrypted key, P-256.ECDH-ES",
    )


def test_cve_2026_96760_json_without_a_signature(material: Material) -> None:
    """No JSON serialization is read at all."""
    refused(material, "general JSON", "flattened JSON")


def test_cve_2026_102946_json_with_no_signatures(material: Material) -> None:
    """Nor one whose list of signatures is empty."""
    refused(material, "general JSON without signatures")


def test_cve_2025_61920_oversize_tokens(material: Material) -> None:
    """Token, header and signature have caps."""
    refused(material, "12,000", "a large", "a huge kid")


def test_cve_2025_65015_errors_that_quote_the_token(material: Material) -> None:
    """An error's text stays short, whatever the token's length."""
    refused(material, "12,000 characters", "a large claim", "a sealed token with a large")


def test_cve_2026_102265_deep_headers(material: Material) -> None:
    """Nesting is a refusal, not a RecursionError."""
    refused(material, "a deep header", "a deep unclosed header", "a sealed token with a deep")


def test_cve_2026_101918_deep_payloads(material: Material) -> None:
    """The same in the payload, under a good signature."""
    refused(material, "2000 brackets", "brackets without an end", "a payload of")


# --- Claims


def test_cve_2024_53861_part_of_an_issuer(material: Material) -> None:
    """Issuers are equal or not."""
    refused(material, "the issuer ")
    for part in (material.issuer[:-1], material.issuer[1:], "id.example", ""):
        with pytest.raises(TokenError):
            material.verifier().verify(material.token(iss=part))


def test_cve_2026_75509_lists_for_texts(material: Material) -> None:
    """A list that holds the right issuer is no issuer; so with `sub` and `jti`."""
    for name in ("iss", "sub", "jti", "sid", "client_id"):
        with pytest.raises(InvalidClaim):
            material.verifier().verify(material.token(**{name: [material.claims[name]]}))


def test_cve_2026_103001_checks_that_stay_switched_off(material: Material) -> None:
    """What a verifier refused changes nothing of what it asks of the next token."""
    verifier = material.verifier()
    for token in (ATTACKS["no alg"].make(material), material.token(exp=material.now - 60)):
        with pytest.raises(TokenError):
            verifier.verify(token)
    assert verifier.verify(material.token()).sub == material.claims["sub"]
    wrong = {"exp": material.now - 60, "iss": "https://else.example", "aud": "else", "jti": ...}
    for name, value in wrong.items():
        with pytest.raises(TokenError):
            verifier.verify(material.token(**{name: value}))


# --- Encryption


def test_cve_2016_6298_rsa1_5(material: Material) -> None:
    """RSA1_5 is outside the allow-list, so that there is no padding to ask about."""
    refused(material, "a sealed token of alg 'RSA1_5'")


def test_cve_2026_28490_rsa1_5(material: Material) -> None:
    """The same in Authlib, with RSA-OAEP beside it."""
    refused(material, "a sealed token of alg 'RSA")


def cbc_is_refused(m: Material) -> None:
    """AES-CBC is outside the allow-list, and every failed step is one error (RFC 7516 11.5)."""
    refused(m, "a sealed token of enc 'A128CBC", "a sealed token of enc 'A256CBC")
    texts = set()
    for name in ("encrypted key", "IV", "ciphertext", "tag"):
        with pytest.raises(BadSignature) as refusal:
            m.verifier().verify(
                ATTACKS[f"a sealed token with another {name}, P-256.ECDH-ES+A256KW"].make(m)
            )
        texts.add(str(refusal.value))
    assert len(texts) == 1


def test_cve_2021_29443_cbc_padding_oracle(material: Material) -> None:
    """jose on Node."""
    cbc_is_refused(material)


def test_cve_2021_29444_cbc_padding_oracle(material: Material) -> None:
    """jose in browsers."""
    cbc_is_refused(material)


def test_cve_2021_29445_cbc_padding_oracle(material: Material) -> None:
    """jose on Node, as ES modules."""
    cbc_is_refused(material)


def test_cve_2021_29446_cbc_padding_oracle(material: Material) -> None:
    """jose on Node, as CommonJS."""
    cbc_is_refused(material)


def test_cve_2017_16007_invalid_curve(material: Material) -> None:
    """No point off the curve is computed with."""
    refused(material, "an ephemeral point", "an ephemeral key")


def test_cve_2022_3102_encrypted_to_the_signing_key(material: Material) -> None:
    """The issuer's public signing key is nobody's to encrypt to."""
    key = material.key()
    assert isinstance(key.public, ec.EllipticCurvePublicKey)
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    epk = ECKey(ephemeral, ephemeral.public_key()).as_dict(private=False)
    secret = ephemeral.exchange(ec.ECDH(), key.public)
    for header in ({"cty": "JWT"}, {"typ": "at+jwt"}, {}):
        token = seal_with_secret(
            {"alg": "ECDH-ES", "enc": "A256GCM", "kid": key.kid, "epk": epk, **header},
            secret,
            material.token().encode(),
        )
        with pytest.raises(UnknownKid):
            material.verifier().verify(token)


def iterations_are_refused(m: Material) -> None:
    """PBES2 is outside the allow-list, and its count is refused before anything is derived."""
    refused(m, "PBES2 of ", "PBES2 without", "a refresh token with p2c")


def test_cve_2022_36083_pbes2_iterations(material: Material) -> None:
    """jose on Node."""
    iterations_are_refused(material)


def test_cve_2023_6681_pbes2_iterations(material: Material) -> None:
    """jwcrypto."""
    iterations_are_refused(material)


def test_cve_2026_27932_pbes2_iterations(material: Material) -> None:
    """joserfc."""
    iterations_are_refused(material)


def bombs_are_refused(m: Material) -> None:
    """Nothing is ever decompressed (RFC 8725 section 3.6)."""
    refused(m, "a bomb of", "a compressed token", "a refresh token made with zip")


def test_cve_2024_28102_zip_bomb(material: Material) -> None:
    """jwcrypto."""
    bombs_are_refused(material)


def test_cve_2026_39373_zip_bomb_after_the_fix(material: Material) -> None:
    """jwcrypto again, within the cap on the token's own size."""
    bombs_are_refused(material)


def test_cve_2024_28176_zip_bomb(material: Material) -> None:
    """jose on Node."""
    bombs_are_refused(material)


def test_cve_2024_33664_zip_bomb(material: Material) -> None:
    """python-jose."""
    bombs_are_refused(material)


def test_cve_2024_29370_zip_bomb(material: Material) -> None:
    """python-jose, reported twice."""
    bombs_are_refused(material)


def test_cve_2025_62706_zip_bomb(material: Material) -> None:
    """Authlib."""
    bombs_are_refused(material)
