"""Tokens that are wrong in one way."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

import jwt


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def as_segment(value: Mapping[str, Any]) -> str:
    """A JSON object as a segment of a compact token."""
    return b64u(json.dumps(value, separators=(",", ":")).encode())


def header_of(token: str) -> dict[str, Any]:
    """A token's header, unverified."""
    return dict(json.loads(unb64u(token.split(".", maxsplit=1)[0])))


def claims_of(token: str) -> dict[str, Any]:
    """A signed token's claims, unverified."""
    return dict(json.loads(unb64u(token.split(".")[1])))


def random_id() -> str:
    return secrets.token_urlsafe(16)


def with_mac(token: str, secret: bytes) -> str:
    """The token's claims under HS256 with this secret."""
    head = as_segment({**header_of(token), "alg": "HS256"})
    payload = token.split(".")[1]
    return f"{head}.{payload}.{b64u(hmac.digest(secret, f'{head}.{payload}'.encode(), 'sha256'))}"


def unsigned(token: str, alg: str) -> list[str]:
    """The token's claims under `alg`, without a signature and with the old one."""
    _, payload, signature = token.split(".")
    head = as_segment({**header_of(token), "alg": alg})
    return [f"{head}.{payload}.", f"{head}.{payload}.{signature}"]


def altered(token: str, **claims: Any) -> str:
    """The token with other claims and its old signature."""
    head, _, signature = token.split(".")
    return f"{head}.{as_segment({**claims_of(token), **claims})}.{signature}"


def with_header(token: str, **fields: Any) -> str:
    """The token with other header fields and its old signature."""
    _, payload, signature = token.split(".")
    return f"{as_segment({**header_of(token), **fields})}.{payload}.{signature}"


class Forge:
    """Signs whatever it is told to, under the issuer's own key, after the model of a good token."""

    def __init__(self, jwk: Mapping[str, Any], model: str) -> None:
        self._key = jwt.PyJWK.from_dict(dict(jwk))
        self.header = header_of(model)
        self.claims = claims_of(model)

    def token(self, *, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """A token with other claims or header fields; None leaves one out."""
        claims = {**self.claims, "jti": random_id(), **changes}
        kept = {name: value for name, value in claims.items() if value is not None}
        return self.signed(json.dumps(kept, separators=(",", ":")).encode(), header)

    def aged(self, seconds: float) -> str:
        """A token whose whole life lies so much further back."""
        moved = {
            name: int(self.claims[name] - seconds)
            for name in ("iat", "exp", "auth_time")
            if name in self.claims
        }
        return self.token(**moved)

    def not_before(self, seconds: float) -> str:
        """A token that begins to be valid only then."""
        return self.token(nbf=int(time.time() + seconds))

    def signed(
        self, payload: bytes, header: Mapping[str, Any] | None = None, encoding: str = "utf-8"
    ) -> str:
        """Any bytes, signed; `encoding` is the header's."""
        fields = {**self.header, **(header or {})}
        kept = {name: value for name, value in fields.items() if value is not None}
        head = b64u(json.dumps(kept, separators=(",", ":")).encode(encoding))
        signing_input = f"{head}.{b64u(payload)}"
        signature = self._key.Algorithm.sign(signing_input.encode(), self._key.key)
        return f"{signing_input}.{b64u(signature)}"
