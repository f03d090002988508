"""The audit log: what happened, who did it, and that nobody has altered it since."""

from .consumer import Consumer, Recorded
from .event import Event, EventKind, Outcome
from .origin import Origin, coming_from, current_origin

__all__ = [
    "Consumer",
    "Event",
    "EventKind",
    "Origin",
    "Outcome",
    "Recorded",
    "coming_from",
    "current_origin",
]
