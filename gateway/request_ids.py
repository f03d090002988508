"""An id for each request, which its log lines carry and its answer names.

The gateway's own `X-Request-Id` is taken only where the service is told that the gateway sets it:
else it is the client's, who could give a thousand requests one id (ASVS 16.4.1).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from contextvars import ContextVar
from itertools import count

HEADER = b"x-request-id"
_WELL_FORMED = re.compile(rb"[\x21-\x2b\x2d-\x7e]{1,64}\Z")
"""Visible ASCII, without the comma, which is how a server hands on two headers (RFC 9110 5.3)."""

current: ContextVar[str] = ContextVar("gatepass_request_id", default="")
"""Of the request that is being answered; empty for what a process does by itself."""


class RequestIds:
    """Hands out ids that no other process does: a random half, and a number."""

    def __init__(self, *, trusted: bool) -> None:
        self._trusted = trusted
        self._prefix = secrets.token_hex(8)
        self._numbers = count(1)

    def begin(self, given: Sequence[bytes]) -> bytes:
        """The id of a request that begins in this context; `given` are its headers of the name."""
        if self._trusted and len(given) == 1 and _WELL_FORMED.match(given[0]):
            request_id = given[0].decode("ascii")
        else:
            request_id = f"{self._prefix}-{next(self._numbers):x}"
        current.set(request_id)
        return request_id.encode("ascii")
