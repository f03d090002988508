"""Whom an issuer knows by its settings: clients, gateways, and APIs that tokens are sealed for."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from tokens import InvalidClaim, Recipient

from .policies.settings import ClientRules
from .setting_values import NOT_SHA256, Origin, ReceiverUrl, is_sha256

LONGEST_ACCESS_LIFETIME = 3600
LONGEST_SESSION = 30 * 86_400

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+\Z")


class Client(ClientRules):
    """A relying party: who logs people in, or who asks about tokens. Durations in seconds."""

    audience: str = Field(min_length=1, max_length=255)
    """The API that its access tokens are for."""
    scopes: tuple[str, ...] = ()
    access_lifetime: int = Field(300, ge=1, le=LONGEST_ACCESS_LIFETIME)
    idle: int = Field(1800, ge=0)
    """A session ends after this long without a person's activity; 0: never for that reason."""
    absolute: int = Field(43_200, ge=1, le=LONGEST_SESSION)
    """A session ends this long after login, whatever happens (SP 800-63B-4: 30 days at AAL1)."""
    secret_sha256: SecretStr | None = None
    """SHA-256 of the client's secret, hexadecimal; set for confidential clients only."""
    status_list: bool = False
    """Whether its access tokens have a place in a Token Status List; costs a write for each."""
    origins: tuple[Origin, ...] = ()
    """Origins of its pages beside the issuer's own: they may use cookie mode and read answers."""
    introspect: bool = False
    """Whether it may ask about tokens of its audience (RFC 7662); needs a secret."""
    backchannel_logout_uri: ReceiverUrl | None = None
    """Where it is told that a session of its own has ended (OpenID Back-Channel Logout)."""

    @model_validator(mode="after")
    def _consistent(self) -> Client:
        for scope in (*self.scopes, *self.elevated_scopes):
            if not _SCOPE.match(scope):
                raise ValueError(f"scope {scope!r} is not of the form of RFC 6749 section 3.3")
        if self.secret_sha256 and not is_sha256(self.secret_sha256):
            raise ValueError(f"secret_sha256 {NOT_SHA256}")
        if self.introspect and self.secret_sha256 is None:
            raise ValueError("introspect needs secret_sha256")
        return self


class Gateway(BaseModel):
    """A gateway that follows the denylist over HTTP."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    secret_sha256: SecretStr
    """SHA-256 of its secret, hexadecimal."""

    @model_validator(mode="after")
    def _readable(self) -> Gateway:
        if not is_sha256(self.secret_sha256):
            raise ValueError(f"secret_sha256 {NOT_SHA256}")
        return self


class Audience(BaseModel):
    """An API that has registered a public key, so that its access tokens are sealed for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encryption_jwk: dict[str, Any]

    @model_validator(mode="after")
    def _readable(self) -> Audience:
        if "d" in self.encryption_jwk:
            raise ValueError("encryption_jwk holds a private key; give the public one")
        try:
            self.recipient()
        except InvalidClaim as error:
            raise ValueError(str(error)) from None
        return self

    def recipient(self) -> Recipient:
        return Recipient.from_jwk(self.encryption_jwk)
