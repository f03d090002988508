"""Keys and tokens as we and both oracles take them, and how far a property looks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from harness import jose_oracle as oracle
from hypothesis import Phase, settings
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tokens import VerificationKey

SHA256 = hashes.SHA256()


@dataclass(frozen=True, slots=True)
class Signer:
    """One key pair, as each of the three libraries wants it."""

    alg: str
    private: Any
    ours: VerificationKey
    joserfc: Any

    def signature(self, data: bytes) -> bytes:
        return oracle.raw_signature(self.alg, self.private, data)

    def der(self, data: bytes) -> bytes:
        return bytes(self.private.sign(data, ec.ECDSA(SHA256)))

    def sign(self, header: bytes | str, payload: bytes | str) -> str:
        """A token over these segments, text taken as it is, whether or not it is canonical."""
        parts = (header, payload)
        data = ".".join(part if isinstance(part, str) else oracle.b64u(part) for part in parts)
        return f"{data}.{oracle.b64u(self.signature(data.encode()))}"


@cache
def rsa_private(owner: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def signer(alg: str, owner: str = "issuer") -> Signer:
    """The key of `owner`; PS256 and RS256 share theirs, so that they differ by scheme alone."""
    private: Any
    if alg == "ES256":
        private = ec.generate_private_key(ec.SECP256R1())
        joserfc = ECKey(private.public_key(), private.public_key())
    elif alg == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
        joserfc = OKPKey(private.public_key(), private.public_key())
    else:
        private = rsa_private(owner)
        joserfc = RSAKey(private.public_key(), private.public_key())
    key = VerificationKey.of("k", alg, private.public_key())
    return Signer(alg, private, key, joserfc)


def header_bytes(alg: str, **members: Any) -> bytes:
    return json.dumps({"alg": alg, "typ": "at+jwt", "kid": "k", **members}).encode()


def explore(examples: int, *, repeatable: bool = False) -> Callable[[Any], Any]:
    """Settings for a property; `repeatable` ones fail on the first example and do not shrink."""
    if repeatable:
        return settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            report_multiple_bugs=False,
            phases=[Phase.generate],
        )
    return settings(max_examples=examples, deadline=None)


ES = header_bytes("ES256")
