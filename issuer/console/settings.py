"""Settings of the console: off unless they turn it on. Durations in seconds."""

from __future__ import annotations

import ipaddress
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

CLIENT_ID = "gatepass-console"
"""Under which the console's own sessions are kept; no relying party may have the name."""


class WatchedGateway(BaseModel):
    """A gateway whose `/metrics` the console reads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    """Of its `/metrics`."""
    token: SecretStr | None = None
    """The bearer token that it asks for."""

    @model_validator(mode="after")
    def _readable(self) -> WatchedGateway:
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            raise ValueError("url is not a URL") from None
        if parts.scheme not in {"http", "https"} or not host or parts.username is not None:
            raise ValueError("url is not an http(s) URL without a user")
        if self.token is not None and parts.scheme == "http" and not _is_loopback(host):
            raise ValueError("url: a token is sent over https, or within this machine")
        return self


class ConsoleSettings(BaseModel):
    """The pages for administrators under `/console`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = False
    role: str = Field("admin", min_length=1, max_length=64)
    """Of the accounts that may sign in."""
    acr: Literal["aal1", "aal2", "aal3"] = "aal1"
    """That a session must reach: from `aal2` on a second factor is needed (ASVS 6.3.3)."""
    idle: int = Field(900, ge=60, le=3600)
    """A session ends after this long without a page being asked for (PCI DSS 8.2.8)."""
    absolute: int = Field(28_800, ge=300, le=43_200)
    """And this long after its sign-in: a working day (SP 800-63B-4: 12 hours at AAL3)."""
    fresh: int = Field(300, ge=30, le=900)
    """Whoever changes something has signed in so recently, or is asked again (ASVS 7.5.3)."""
    gateways: dict[str, WatchedGateway] = {}
    """Whose replicas are shown."""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
