"""What an operator says about the audit log."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from .event import EventKind

DAY = 86_400
_LEAST_SECRET = 22
"""Characters; random ones hold 128 bits then."""


class AuditSettings(BaseModel):
    """How long events are kept, and what of an address. Durations in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    keep: int = Field(365 * DAY, ge=3600)
    """How long an event stays (PCI DSS 10.5.1 asks for twelve months; GDPR art. 5(1)(e))."""
    keep_kinds: dict[EventKind, int] = {EventKind.SESSION_REFRESHED: 30 * DAY}
    """Kinds that stay for another time."""
    addresses: Literal["full", "truncated", "pseudonym", "none"] = "full"
    """What is kept of an address: all, its network (/24, /56), a keyed digest of it, or nothing."""
    secret: SecretStr | None = Field(None, min_length=_LEAST_SECRET)
    """Keys the hash chain and pseudonyms; `keys_secret` where there is none."""
    old_secrets: tuple[SecretStr, ...] = ()
    """Former ones, under which older events are verified."""
