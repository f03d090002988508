"""Sealed access tokens: each suite opens what it sealed, and nothing else (tests/attacks)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness.jose_oracle import unb64u
from joserfc.jwk import ECKey, OKPKey

from tokens import Recipient, TokenError, seal, unseal

CONTENT = "eyJ.signed.token"
KEYS: dict[str, Any] = {
    "P-256": ECKey.generate_key("P-256"),
    "X25519": OKPKey.generate_key("X25519"),
}
SUITES = [(curve, alg) for curve in KEYS for alg in ("ECDH-ES+A256KW", "ECDH-ES")]


def recipient(curve: str, alg: str) -> Recipient:
    """An audience's key with its private half."""
    return Recipient.from_jwk({**KEYS[curve].as_dict(private=True), "kid": "k", "alg": alg})


def header_of(token: str) -> dict[str, Any]:
    return dict(json.loads(unb64u(token.split(".", maxsplit=1)[0])))


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
    with pytest.raises(TokenError) as refusal:
        unseal(".".join(parts), {"k": own})
    assert refusal.value.code in {"malformed", "bad_signature"}
