"""Where what happens now came from: set once for each request or command, read by every event."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """Of a request or a command; the fields are those of `Event`."""

    address: str = ""
    user_agent: str = ""
    request_id: str = ""
    actor: str = ""


_BY_ITSELF = Origin(actor="issuer")
"""What a background thread does."""
_current: ContextVar[Origin] = ContextVar("gatepass_origin", default=_BY_ITSELF)


def current_origin() -> Origin:
    """Of what this thread does now."""
    return _current.get()


@contextmanager
def coming_from(origin: Origin) -> Iterator[None]:
    """What happens within came from there."""
    token = _current.set(origin)
    try:
        yield
    finally:
        _current.reset(token)
