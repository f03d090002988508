"""Signs the messages of the HTTP feed, so that nothing between issuer and gateway is trusted."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import jwt

from keys import Key
from revocation import FeedItem, Position
from revocation.http_wire import EVENTS_TYPE, audience, cursor, digest, pack_items


class FeedSigner:
    """Signs under the key that signs access tokens, as messages of types of their own."""

    def __init__(
        self, issuer: str, signing_key: Callable[[], Key], clock: Callable[[], float]
    ) -> None:
        self._issuer = issuer
        self._signing_key = signing_key
        self._clock = clock

    def sign(self, typ: str, claims: dict[str, Any]) -> str:
        """One message (RFC 8725 sections 3.8, 3.9, 3.11). Raises `keys.KeyRingError`."""
        key = self._signing_key()
        private: Any = key.private
        return jwt.encode(
            {
                "iss": self._issuer,
                "aud": audience(self._issuer),
                "iat": int(self._clock()),
                **claims,
            },
            private,
            algorithm=key.alg,
            headers={"typ": typ, "kid": key.kid},
        )

    def event(self, epoch: str, items: Sequence[FeedItem]) -> bytes:
        """Items as one server-sent event: one signature, however many items and readers."""
        body = pack_items(items)
        message = self.sign(EVENTS_TYPE, {"epoch": epoch, "sha256": digest(body)})
        last = cursor(Position(epoch, items[-1].seq, items[-1].chain))
        text = base64.b64encode(body).decode()
        return f"id: {last}\ndata: {message}\ndata: {text}\n\n".encode()
