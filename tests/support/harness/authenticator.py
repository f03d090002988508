"""A passkey in software: its key is in the open, and a test may change what it answers."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tokens.base64url import encode

UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40
_AAGUID = bytes(range(16))


@dataclass
class Authenticator:
    """One credential, P-256. What a test changes, the next answer says."""

    origin: str
    rp_id: str
    flags: int = UP | UV
    step: int = 1
    """By how much the count rises with each use; 0 as passkeys that are synced have it."""
    count: int = 0
    cross_origin: bool | None = None
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def create(self, options: dict[str, Any], kind: str = "webauthn.create") -> dict[str, Any]:
        """The answer to registration options: no attestation."""
        public = self.key.public_key().public_numbers()
        cose = cbor2.dumps(
            {1: 2, 3: -7, -1: 1, -2: public.x.to_bytes(32), -3: public.y.to_bytes(32)}
        )
        length = len(self.credential_id).to_bytes(2)
        data = self._data(AT) + _AAGUID + length + self.credential_id + cose
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client_data = self._client_data(options, kind)
        return self._credential(
            {
                "clientDataJSON": encode(client_data),
                "attestationObject": encode(attestation),
                "transports": ["internal", "usb", "carrier-pigeon"],
            }
        )

    def get(self, options: dict[str, Any], kind: str = "webauthn.get") -> dict[str, Any]:
        """The answer to assertion options."""
        self.count += self.step
        data = self._data()
        client_data = self._client_data(options, kind)
        signed = data + hashlib.sha256(client_data).digest()
        return self._credential(
            {
                "clientDataJSON": encode(client_data),
                "authenticatorData": encode(data),
                "signature": encode(self.key.sign(signed, ec.ECDSA(hashes.SHA256()))),
                "userHandle": None,
            }
        )

    def _data(self, more: int = 0) -> bytes:
        rp = hashlib.sha256(self.rp_id.encode()).digest()
        return rp + bytes([self.flags | more]) + self.count.to_bytes(4)

    def _client_data(self, options: dict[str, Any], kind: str) -> bytes:
        told = {"type": kind, "challenge": options["challenge"], "origin": self.origin}
        if self.cross_origin is not None:
            told["crossOrigin"] = self.cross_origin
        return json.dumps(told).encode()

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        name = encode(self.credential_id)
        return {"id": name, "rawId": name, "type": "public-key", "response": response}
