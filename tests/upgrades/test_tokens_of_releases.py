"""Tokens of the release before are read by this one, and the other way round."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from harness.older_release import VERSION, OlderRelease

from keys import DirectoryStore, KeyRing, RotationPolicy, rotate
from tokens import AccessClaims, AccessVerifier, RefreshClaims, RefreshSealer, VerificationKey, sign

ISSUER = "https://id.example"
SID = "B" * 21 + "A"

# Reads both kinds of token with the older release's code, and mints one of each.
OLDER = """
import json, sys
from importlib import metadata
import tokens
from keys import DirectoryStore
from tokens import AccessClaims, AccessVerifier, RefreshClaims, RefreshSealer, VerificationKey

given = json.load(sys.stdin)
ring = DirectoryStore(given["keys"], None, development=True).load()
sealer = RefreshSealer(given["issuer"], lambda: ring)
key = ring.active("ES256")
verifier = AccessVerifier(
    issuer=given["issuer"], audience="api",
    find_key=lambda kid: VerificationKey.of(kid, key.alg, key.public),
)
access = given["access_claims"]
access["aud"], access["amr"] = (access["aud"],), tuple(access["amr"])
print(json.dumps({
    "version": metadata.version("gatepass"),
    "code": tokens.__file__,
    "refresh": [sealer.open(token, given["now"]).to_payload() for token in given["refresh"]],
    "access": [verifier.verify(token).to_payload() for token in given["access"]],
    "minted": sealer.mint(RefreshClaims(**given["refresh_claims"])),
    "signed": tokens.sign(AccessClaims(**access), key),
}))
"""


@dataclass
class Both:
    """A ring that both releases read, and this release's half."""

    ring: KeyRing
    directory: Path
    now: int

    @property
    def sealer(self) -> RefreshSealer:
        return RefreshSealer(ISSUER, lambda: self.ring)

    @property
    def refresh(self) -> RefreshClaims:
        return RefreshClaims(
            iss=ISSUER, sub="ann", sid=SID, client_id="app", gen=3, exp=self.now + 1000
        )

    @property
    def access(self) -> AccessClaims:
        return AccessClaims(
            iss=ISSUER,
            sub="ann",
            aud=("api",),
            client_id="app",
            iat=self.now,
            exp=self.now + 300,
            jti=SID,
            sid=SID,
            auth_time=self.now,
            sub_ver=1,
            amr=("pwd",),
            scope="read",
        )


@pytest.fixture
def both(tmp_path: Path) -> Both:
    now = int(time.time())
    ring = DirectoryStore(tmp_path / "keys", None, development=True).update(
        lambda empty: rotate(empty, now, RotationPolicy())
    )
    return Both(ring, tmp_path / "keys", now)


def test_each_release_reads_the_others_tokens(both: Both, older: OlderRelease) -> None:
    """With claims that a later version may add, too: what is unknown is ignored."""

    class Later(RefreshClaims):
        def to_payload(self) -> dict[str, Any]:
            return {**super().to_payload(), "cnf": {"jkt": "x"}, "tenant": "north"}

    written = {name: getattr(both.refresh, name) for name in RefreshClaims.__dataclass_fields__}
    key = both.ring.active("ES256")
    access = both.access.to_payload()
    answer = older.evaluate(
        OLDER,
        {
            "keys": str(both.directory),
            "issuer": ISSUER,
            "now": both.now,
            "refresh": [both.sealer.mint(both.refresh), both.sealer.mint(Later(**written))],
            "access": [
                sign(both.access, key),
                sign(replace(both.access, extra={"tenant": "north"}), key),
            ],
            "refresh_claims": written,
            "access_claims": access,
        },
    )
    assert answer["version"] == VERSION
    assert Path(answer["code"]).is_relative_to(older.directory)
    assert answer["refresh"] == [written, written]
    assert answer["access"] == [access, {**access, "tenant": "north"}]
    assert both.sealer.open(answer["minted"], both.now) == both.refresh
    verifier = AccessVerifier(
        issuer=ISSUER,
        audience="api",
        find_key=lambda kid: VerificationKey.of(kid, key.alg, key.public),
    )
    assert verifier.verify(answer["signed"]) == both.access
