"""A verifier that remembers tokens, on clocks of the test, and how often it checked a signature."""

from __future__ import annotations

from dataclasses import replace
from secrets import token_hex
from typing import Any

import pytest
from harness.local_issuer import LocalIssuer, freshen

from gateway import Verifier
from revocation import Denylist, Entry, StalePolicy, open_denylist
from tokens import VerificationKey

NOW = 1_800_000_000
LEEWAY = 10


class Clock:
    """A clock that the test moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Gateway:
    """A verifier that has an issuer, a denylist and clocks of the test, and counts signatures."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        self.issuer = LocalIssuer(NOW)
        self.clock = Clock(NOW)
        self.steady = Clock(1000.0)
        self.denylist: Denylist = open_denylist(f"memory://{token_hex(8)}")
        self.denylist.initialise(watermark=0)
        self.denylist.mark_ready()
        self.verifier: Verifier = self.issuer.verifier(
            self.denylist, clock=self.clock, leeway=LEEWAY, max_staleness=600, **options
        )
        self.verifier.keys.clock = self.steady
        freshen(self.denylist, self.verifier.replica)
        self.signatures = 0
        real = VerificationKey.of

        def counted(kid: str, alg: str, public: Any) -> VerificationKey:
            key = real(kid, alg, public)

            def verify(signature: bytes, data: bytes) -> None:
                self.signatures += 1
                key.verify(signature, data)

            return replace(key, verify=verify)

        monkeypatch.setattr(VerificationKey, "of", counted)

    def verify(self, token: str, policy: StalePolicy | None = None) -> Any:
        return self.verifier.verify(token, policy)

    def revoke(self, *entries: Entry) -> None:
        self.denylist.add(entries)
        self.verifier.replica.step(block=1)

    def fetch_again(self) -> None:
        """Let the verifier's copy of the keys grow old, so that the next look is a fetch."""
        self.steady.now += self.issuer.max_age
