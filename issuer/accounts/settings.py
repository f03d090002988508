"""Settings of how passwords are hashed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Hashing(BaseModel):
    """argon2id; the defaults are OWASP's second choice of 19 MiB, two passes, one lane."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_cost: int = Field(2, ge=1)
    memory_cost: int = Field(19_456, ge=8)
    """KiB."""
    parallelism: int = Field(1, ge=1)
    concurrency: int = Field(2, ge=1)
    """Passwords hashed at once in each process; half of its threads at the most."""
    waiting: int = Field(16, ge=0, le=256)
    """Passwords that wait for their turn in each process, each on a thread of its own."""
