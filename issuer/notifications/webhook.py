"""Events as JSON to a receiver, signed as the Standard Webhooks specification 1.0 says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from ..audit.event import Event
from .delivery import Delivery, Wanted, named
from .posting import Poster

GONE = 410
"""The receiver wants nothing more of this."""


class WebhookRoute:
    """Implements `Route`: the events that a receiver has chosen."""

    def __init__(self, target: str, events: tuple[str, ...]) -> None:
        self._target = target
        self._events = events

    def wanted(self, event: Event) -> Iterator[Wanted]:
        if named(event, self._events):
            yield Wanted(self._target, event.id, event)


class WebhookSender:
    """Implements `Sender`."""

    def __init__(self, poster: Poster, keys: Sequence[bytes], clock: Callable[[], float]) -> None:
        """`keys`: secrets, each of which signs."""
        self._poster = poster
        self._keys = tuple(keys)
        self._clock = clock

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._keys)} keys)"

    def send(self, delivery: Delivery) -> None:
        body = payload(delivery.event)
        # The event's id: the same at each attempt, so that a receiver knows it again.
        stamp = str(int(self._clock()))
        signed = b".".join((delivery.key.encode(), stamp.encode(), body))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": delivery.key,
            "webhook-timestamp": stamp,
            "webhook-signature": " ".join(signature(key, signed) for key in self._keys),
        }
        answer = self._poster.post(body, headers)
        if not 200 <= answer.status < 300:
            raise answer.refusal(permanent=answer.status == GONE)


def payload(event: Event) -> bytes:
    """The body: the event, and its kind and time in front, where the standard wants them."""
    moment = datetime.fromtimestamp(event.time, UTC).isoformat(timespec="milliseconds")
    whole = {
        "type": str(event.kind),
        "timestamp": moment.replace("+00:00", "Z"),
        "data": asdict(event),
    }
    return json.dumps(whole, separators=(",", ":")).encode()


def signature(key: bytes, signed: bytes) -> str:
    """One of the header's signatures, of version 1: HMAC-SHA-256."""
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
