"""OpenID Connect Back-Channel Logout 1.0: a client is told that a session of its own has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import urlencode

from ..audit.event import Event, EventKind
from .delivery import Delivery, Wanted
from .posting import Poster
from .signing import TokenSigner

LOGOUT_TYPE = "logout+jwt"
"""Section 2.4: the explicit type (RFC 8725 section 3.11)."""
LIFETIME = 120
"""Seconds (section 4: two minutes at the most)."""
_EVENT = "http://schemas.openid.net/event/backchannel-logout"
ENDS = frozenset({EventKind.SESSION_ENDED, EventKind.SESSION_EXPIRED})
"""What clients are told of."""


class LogoutRoute:
    """Implements `Route` for every client that wants to know."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        """`targets` by client."""
        self._targets = dict(targets)

    def wanted(self, event: Event) -> Iterator[Wanted]:
        if event.kind not in ENDS or event.sid is None:
            return
        # Where nobody knows whose session it was, each is told: to others its id says nothing.
        for client_id, target in self._targets.items():
            if not event.client_id or client_id == event.client_id:
                # A session ends once, however many events say so.
                yield Wanted(target, event.sid, replace(event, client_id=client_id))


class LogoutSender:
    """Implements `Sender` for one client."""

    def __init__(
        self, poster: Poster, signer: TokenSigner, client_id: str, clock: Callable[[], float]
    ) -> None:
        self._poster = poster
        self._signer = signer
        self._client_id = client_id
        self._clock = clock

    def send(self, delivery: Delivery) -> None:
        form = urlencode({"logout_token": self.token(delivery)}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self._poster.post(form, headers)
        if not 200 <= answer.status < 300:
            raise answer.refusal()

    def token(self, delivery: Delivery) -> str:
        """A logout token (section 2.4), another one for each attempt: it lives for minutes.

        Raises `NotDelivered`.
        """
        event, now = delivery.event, int(self._clock())
        claims = {
            "aud": self._client_id,
            "iat": now,
            "exp": now + LIFETIME,
            "jti": f"{event.id}.{delivery.attempts}",
            "events": {_EVENT: {}},
            "sid": event.sid,
        }
        if event.sub is not None:
            claims["sub"] = event.sub
        return self._signer.sign(LOGOUT_TYPE, claims)
