"""An issuer of a test's own process: keys that it may change, documents that it may withhold."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from gateway import KeysUnavailable, Verifier
from gateway.fetching import Fetched
from keys import Key, KeyRing, RotationPolicy, rotate
from revocation import Denylist, Replica
from tokens import AccessClaims, sign

ISSUER = "https://id.example"
AUDIENCE = "orders"
METADATA = f"{ISSUER}/.well-known/oauth-authorization-server"
JWKS = f"{ISSUER}/.well-known/jwks.json"
SID = "S" * 21 + "A"
JTI = "J" * 21 + "A"


class LocalIssuer:
    """Signs tokens; answers a verifier's fetches from memory, and counts them."""

    def __init__(self, now: int | None = None) -> None:
        self.now = int(time.time()) if now is None else now
        self.ring = rotate(KeyRing(), self.now, RotationPolicy(algorithms=("ES256", "EdDSA")))
        self.jwks: Any = self.ring.jwks()
        self.max_age = 300
        self.down = False
        self.fetches: list[str] = []
        self.answers = threading.Event()
        """Cleared, whoever fetches hangs."""
        self.answers.set()

    @property
    def key(self) -> Key:
        return self.ring.active("ES256")

    @property
    def jwks_fetches(self) -> int:
        return self.fetches.count(JWKS)

    def fetch(self, url: str) -> Fetched:
        self.fetches.append(url)
        self.answers.wait(30)
        if self.down:
            raise KeysUnavailable("down")
        metadata = {"issuer": ISSUER, "jwks_uri": JWKS}
        return Fetched(self.jwks if url == JWKS else metadata, self.max_age)

    def claims(self, **changes: Any) -> AccessClaims:
        made = AccessClaims(
            iss=ISSUER,
            sub="somebody",
            aud=(AUDIENCE,),
            client_id="app",
            iat=self.now,
            exp=self.now + 300,
            jti=JTI,
            sid=SID,
            auth_time=self.now,
            sub_ver=3,
            amr=("pwd",),
            scope="read write",
            roles=("editor",),
        )
        return replace(made, **changes)

    def token(self, alg: str = "ES256", **changes: Any) -> str:
        return sign(self.claims(**changes), self.ring.active(alg))

    def verifier(self, denylist: Denylist, **options: Any) -> Verifier:
        """A verifier of this issuer's tokens, whose replica the test steps."""
        options = {"issuer": ISSUER, "audience": AUDIENCE, "fetch": self.fetch, **options}
        return Verifier(denylist=denylist, **options)


ALWAYS_OLD: dict[str, Any] = {"heartbeat_interval": 1e-6, "max_staleness": 2e-6}
"""A verifier's options under which a copy is too old a moment after it was vouched for."""


def freshen(denylist: Denylist, replica: Replica) -> None:
    """Bring a replica in step: a snapshot if it has none, then news with a heartbeat."""
    replica.step(block=0.01)
    denylist.heartbeat(0)
    replica.step(block=1)
