"""Settings of all limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _windows(text: str) -> str:
    from .windows import parse_windows

    parse_windows(text)
    return text


Windows = Annotated[str, AfterValidator(_windows)]
"""`5 per minute; 20 per hour`; empty for no limit."""


class LimitSettings(BaseModel):
    """How much is allowed to whom (ASVS 6.3.1; SP 800-63B-4 section 3.2.2); docs/limits.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    guesses_account_network: Windows = "5 per minute; 10 per 10 minutes; 20 per hour; 60 per day"
    """Wrong passwords for one account from one network."""
    guesses_account: Windows = "10 per minute; 30 per hour; 60 per day"
    """And from all networks on which it has never logged in."""
    guesses_address: Windows = "20 per minute; 100 per hour"
    guesses_network: Windows = "60 per minute; 300 per hour"
    guesses_everybody: Windows = "600 per minute"
    resets_account_network: Windows = "3 per hour; 10 per day"
    resets_account: Windows = "5 per hour; 20 per day"
    resets_address: Windows = "20 per hour"
    resets_network: Windows = "60 per hour"
    resets_everybody: Windows = "600 per hour"
    refreshes_session: Windows = "120 per minute"
    """Refreshes of one session."""
    refreshes_refused: Windows = "300 per minute"
    """Worthless refresh tokens from one address."""
    requests: Windows = "1200 per minute"
    """Requests of one address to `/login` and `/password`."""
    sessions: int = Field(100, ge=0, le=10_000)
    """Live sessions of one account; 0 for any number."""
