"""All attacks, by name, and their refusal in this process."""

from __future__ import annotations

import pytest
from harness.attack_claims import CLAIMS, KINDS, TENANTS, TIMES
from harness.attack_headers import HEADERS
from harness.attack_json import PAYLOADS
from harness.attack_material import Material
from harness.attack_refresh import REFRESH
from harness.attack_sealed import SEALED
from harness.attack_signatures import SIGNATURES
from harness.attack_spellings import SPELLINGS_OF_TOKENS
from harness.attack_table import Attack, Place

from tokens import RefreshSealer, TokenError

PARTS: dict[str, list[Attack]] = {
    "signatures": SIGNATURES,
    "headers": HEADERS,
    "payloads": PAYLOADS,
    "spellings": SPELLINGS_OF_TOKENS,
    "claims": CLAIMS,
    "times": TIMES,
    "kinds": KINDS,
    "tenants": TENANTS,
    "sealed": SEALED,
    "refresh": REFRESH,
}
ATTACKS = {attack.name: attack for part in PARTS.values() for attack in part}


def refused(m: Material, *names: str) -> None:
    """Check that the attacks whose names begin like this are refused, in few words.

    Every other place refuses them, too (tests/attacks/test_attack_tokens.py).
    """
    verifier = m.verifier()
    sealer = RefreshSealer(m.issuer, lambda: m.ring)
    chosen = [name for name in ATTACKS if any(name.startswith(start) for start in names)]
    assert len(chosen) >= len(names)
    for name in chosen:
        token = ATTACKS[name].make(m)
        if Place.VERIFIER in ATTACKS[name].at:
            with pytest.raises(TokenError) as refusal:
                verifier.verify(token)
            assert len(str(refusal.value)) < 200
        if Place.REFRESH in ATTACKS[name].at:
            with pytest.raises(TokenError):
                sealer.open(token, m.now)
