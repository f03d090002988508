"""All attacks, by name."""

from __future__ import annotations

from harness.attack_claims import CLAIMS, KINDS, TENANTS, TIMES
from harness.attack_headers import HEADERS
from harness.attack_json import PAYLOADS
from harness.attack_sealed import REFRESH, SEALED
from harness.attack_signatures import SIGNATURES
from harness.attack_spellings import SPELLINGS_OF_TOKENS
from harness.attack_table import Attack

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
