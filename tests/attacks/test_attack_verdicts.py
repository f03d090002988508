"""The table in this process: each attack is refused for what it is, alone and in combination."""

from __future__ import annotations

import time
import tracemalloc
import zlib
from itertools import product
from typing import Any

import pytest
from harness.attack_material import Material, encoded, public_jwk, strangers_key
from harness.attack_sealed import BOMB, deflated
from harness.attack_signatures import FOREIGN, NO_TEXT, NONE
from harness.attack_table import Place
from harness.attacks_all import ATTACKS, PARTS
from harness.jose_oracle import b64u, raw_signature

from gateway.feed_signature import FeedSignature
from issuer.feed.signer import FeedSigner
from keys import SIGNING_ALGORITHMS
from revocation import DenylistUnavailable
from revocation.http_wire import STATE_TYPE
from tokens import RefreshSealer, TokenError
from tokens.sealing import MAX_SEALED


def code_of(ask: Any, token: str) -> str | None:
    """The code of a refusal, None for a token that is taken; any other exception is a failure."""
    try:
        ask(token)
    except TokenError as refusal:
        return "quotes the token" if token in str(refusal) and len(token) > 10 else refusal.code
    return None


def test_no_name_stands_twice() -> None:
    """An attack that another one of its name hid would not be tried."""
    assert len(ATTACKS) == sum(map(len, PARTS.values()))
    assert len(ATTACKS) > 1000


@pytest.mark.parametrize("part", PARTS)
def test_each_attack_is_refused_for_what_it_is(material: Material, part: str) -> None:
    """Not for a slip in its making: the code is that of the rule which it stands for."""
    verifier = material.verifier()
    sealer = RefreshSealer(material.issuer, lambda: material.ring)
    found = {}
    for attack in PARTS[part]:
        token = attack.make(material)
        if Place.VERIFIER in attack.at:
            code = code_of(verifier.verify, token)
            if code is None or code != (attack.code or code):
                found[attack.name] = f"{attack.code}: {code}"
        if Place.REFRESH in attack.at:
            code = code_of(lambda token: sealer.open(token, material.now), token)
            if code is None:
                found[attack.name] = "opened"
    assert found == {}


PROCESSOR_SECONDS = 0.1
"""For one token; an honest one takes a thousandth of that. On whatever else is running it has no
bearing, and whatever a token could choose, iterations above all, would take far more."""
BYTES = 2_000_000
"""That one token may take for a moment: the one bomb of the table would take six megabytes."""


def test_no_attack_costs_much(material: Material) -> None:
    """Neither time nor memory is of the token's choice (RFC 8725 section 2.5, CWE-400, CWE-409)."""
    verifier = material.verifier()
    sealer = RefreshSealer(material.issuer, lambda: material.ring)
    made = {name: attack.make(material) for name, attack in ATTACKS.items()}
    code_of(verifier.verify, material.sealed())  # loads what is loaded once
    dear = {}
    tracemalloc.start()
    try:
        for name, token in made.items():
            tracemalloc.reset_peak()
            held, began = tracemalloc.get_traced_memory()[0], time.process_time()
            code_of(verifier.verify, token)
            code_of(lambda token: sealer.open(token, material.now), token)
            took = time.process_time() - began
            taken = tracemalloc.get_traced_memory()[1] - held
            if took > PROCESSOR_SECONDS or taken > BYTES:
                dear[name] = (took, taken)
    finally:
        tracemalloc.stop()
    assert dear == {}


def test_the_bomb_is_one(material: Material) -> None:
    """It fits a token, and whoever inflates it takes more than is allowed."""
    bomb = deflated(BOMB)
    assert len(material.encrypted(bomb, zip="DEF")) < MAX_SEALED
    tracemalloc.start()
    try:
        zlib.decompress(bomb, -zlib.MAX_WBITS)
        assert tracemalloc.get_traced_memory()[1] > BYTES
    finally:
        tracemalloc.stop()


def test_the_material_is_honest(material: Material) -> None:
    """Every algorithm, every suite and the refresh token pass as long as nothing is spoilt."""
    verifier = material.verifier()
    for alg in SIGNING_ALGORITHMS:
        assert verifier.verify(material.token(alg)).sub == "somebody"
    for suite in material.recipients:
        assert verifier.verify(material.sealed(suite=suite)).sub == "somebody"
    assert verifier.verify(material.encrypted(material.token())).sub == "somebody"
    sealer = RefreshSealer(material.issuer, lambda: material.ring)
    assert sealer.open(material.refresh(), material.now) == material.refresh_claims
    payload = material.refresh_claims.to_payload()
    assert sealer.open(material.refresh_of(payload), material.now) == material.refresh_claims


NAMES = (*NONE, *FOREIGN, *NO_TEXT, *SIGNING_ALGORITHMS)
TYPES: tuple[Any, ...] = ("at+jwt", "JWT", "rt+jwt", None)
STEERING: tuple[dict[str, Any], ...] = (
    {},
    {"crit": ["exp"]},
    {"b64": False},
    {"jku": "http://127.0.0.1:9"},
    {"jwk": public_jwk(strangers_key("ES256"))},
)
SIGNERS = ("right", "stranger", "empty", "zeros")


def test_combinations_of_header_key_and_signature(material: Material) -> None:
    """Of thousands of combinations those pass in which all is right, and no other."""
    verifier = material.verifier()
    tried, taken = 0, set()
    for kid_of, name, typ, steering in product(("ES256", "EdDSA"), NAMES, TYPES, STEERING):
        header = material.header(kid_of, alg=name, typ=typ, **steering)
        body = f"{encoded(header)}.{encoded(material.claims)}"
        for signer in SIGNERS:
            tried += 1
            token = f"{body}.{b64u(signature(material, kid_of, signer, body.encode()))}"
            if code_of(verifier.verify, token) is None:
                taken.add((kid_of, str(name), typ, tuple(steering), signer))
    assert taken == {(alg, alg, "at+jwt", (), "right") for alg in ("ES256", "EdDSA")}
    assert tried > 6000


def signature(m: Material, alg: str, signer: str, data: bytes) -> bytes:
    """A signature over these bytes by somebody, or none."""
    if signer in {"empty", "zeros"}:
        return b"" if signer == "empty" else bytes(64)
    key = m.key(alg) if signer == "right" else strangers_key(alg)
    return raw_signature(alg, key.private, data)


def test_only_the_feeds_own_messages_pass_for_them(material: Material) -> None:
    """The feed and the tokens are signed under one key; neither passes as the other."""
    check = FeedSignature(material.issuer, material.find_key)
    signer = FeedSigner(material.issuer, material.key, lambda: material.now)
    message = signer.sign(STATE_TYPE, {"epoch": "e"})
    assert check(message, STATE_TYPE)["epoch"] == "e"
    honest = [material.token(), material.sealed(), material.refresh()]
    for token in [*honest, *(attack.make(material) for attack in PARTS["headers"])]:
        with pytest.raises(DenylistUnavailable):
            check(token, STATE_TYPE)
    for changed in ("gatepass-events+jwt", "at+jwt"):
        with pytest.raises(DenylistUnavailable):
            check(message, changed)
