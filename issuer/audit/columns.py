"""What of an event stands in columns: cut to what these hold, and to what a database takes."""

from __future__ import annotations

from .event import Event

_MILLISECONDS = 1000
_LONGEST = {
    "sub": 64,
    "sid": 64,
    "client_id": 255,
    "address": 64,
    "request_id": 64,
    "user_agent": 256,
}
"""Characters that the columns hold; the body holds all."""
_LOOKED_FOR = ("sub", "sid", "client_id", "address", "request_id")


def kept(event: Event, name: str) -> str:
    """One of an event's texts, as its column holds it: no event may hold up those behind it."""
    text: str = getattr(event, name) or ""
    if not text.isascii() or "\0" in text:
        text = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return text[: _LONGEST[name]]


def columns_of(event: Event) -> dict[str, str | int | None]:
    """What of an event can be searched for."""
    return {
        "time": int(event.time * _MILLISECONDS),
        "event_id": event.id,
        "kind": event.kind.value,
        "outcome": event.outcome.value,
        **{name: kept(event, name) or None for name in _LOOKED_FOR},
    }
