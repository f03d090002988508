"""What goes wrong with limits."""

from __future__ import annotations

from typing import ClassVar


class TooManyRequests(Exception):
    """A limit is reached; trying again is worth it after `retry_after` whole seconds."""

    code: ClassVar[str] = "too_many_requests"

    def __init__(self, limit: str, retry_after: int) -> None:
        """`limit` is the setting's name."""
        super().__init__(f"{limit}: wait {retry_after} seconds")
        self.limit = limit
        self.retry_after = retry_after


class LimitsUnavailable(Exception):
    """The store of the counts does not answer; caught here, where memory steps in."""

    code: ClassVar[str] = "limits_unavailable"
