"""Keys, claims and tokens to measure with."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import serialization
from joserfc.jwk import ECKey, OKPKey, RSAKey

from keys import Key, PrivateKey, PublicKey, generate
from tokens import AccessClaims, AccessVerifier, VerificationKey, sign

ISSUER = "https://id.example"
AUDIENCE = "api"
TYPE = "at+jwt"
ACCESS_LIFETIME = 3600
"""Seconds. Long, so that no token of a run expires before it is used."""

_JOSERFC: dict[str, type[ECKey | OKPKey | RSAKey]] = {
    "ES256": ECKey,
    "EdDSA": OKPKey,
    "PS256": RSAKey,
    "RS256": RSAKey,
}


def random_id() -> str:
    return secrets.token_urlsafe(16)


def claims() -> AccessClaims:
    """The claims of a fresh access token, as the issuer makes them."""
    now = int(time.time())
    return AccessClaims(
        iss=ISSUER,
        sub=random_id(),
        aud=(AUDIENCE,),
        client_id="web",
        iat=now,
        exp=now + ACCESS_LIFETIME,
        jti=random_id(),
        sid=random_id(),
        auth_time=now,
        sub_ver=1,
        amr=("pwd",),
        scope="read write",
        roles=("staff",),
    )


@dataclass(frozen=True, slots=True)
class Signer:
    """One key pair in the form that each library takes, ready beforehand."""

    key: Key
    private: PrivateKey
    public: PublicKey
    joserfc: ECKey | OKPKey | RSAKey

    @classmethod
    def new(cls, alg: str) -> Signer:
        key = generate(alg, int(time.time()))
        if key.private is None or isinstance(key.private, bytes) or key.public is None:
            raise ValueError(f"{alg} is no signing algorithm")
        return cls(key, key.private, key.public, _JOSERFC[alg].import_key(private_pem(key.private)))

    @property
    def alg(self) -> str:
        return self.key.alg

    @property
    def header(self) -> Mapping[str, Any]:
        """The header that ours writes, for the peers to write too."""
        return {"alg": self.alg, "typ": TYPE, "kid": self.key.kid}

    def tokens(self, number: int) -> list[str]:
        """As many access tokens, no two alike."""
        return [sign(claims(), self.key) for _ in range(number)]

    def verifier(self) -> AccessVerifier:
        """Ours, with its key ready, as a gateway has it after the first fetch."""
        known = {self.key.kid: VerificationKey.of(self.key.kid, self.alg, self.public)}
        return AccessVerifier(issuer=ISSUER, audience=AUDIENCE, find_key=known.__getitem__)


def private_pem(private: PrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_pem(public: PublicKey) -> bytes:
    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
