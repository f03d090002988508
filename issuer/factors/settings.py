"""Settings of second factors."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field


class FactorSettings(BaseModel):
    """How factors are named and what passkeys belong to; docs/factors.md. Durations in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("Gatepass", min_length=1, max_length=64, pattern=r"^[^:\x00-\x1f\x7f]+$")
    """What authenticators show beside the user name."""
    rp_id: str | None = Field(None, pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)*$", max_length=253)
    """The domain that passkeys belong to; the issuer's host unless given."""
    fresh: int = Field(300, ge=0, le=3600)
    """A login younger than this stands in for the password at a change of factors; 0: none does."""

    def relying_party(self, issuer: str) -> str | None:
        """The domain of passkeys; None where the issuer has only an address, which is no domain."""
        host = self.rp_id or urlsplit(issuer).hostname or ""
        try:
            ip_address(host)
        except ValueError:
            return host
        return None
