"""Shared Signals: events as Security Event Tokens (RFC 8417) of CAEP 1.0.

A receiver's stream is set up by the operator, in the settings, and holds every person.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from ..audit.event import Event, EventKind
from .delivery import Delivery, NotDelivered, Wanted
from .posting import Answer, Poster
from .signing import TokenSigner

SET_TYPE = "secevent+jwt"
"""RFC 8417 section 2.3."""
MEDIA_TYPE = "application/secevent+jwt"
PUSH, POLL = "urn:ietf:rfc:8935", "urn:ietf:rfc:8936"
_CAEP = "https://schemas.openid.net/secevent/caep/event-type/"

CREDENTIAL_CHANGES: Mapping[EventKind, str] = MappingProxyType(
    {
        EventKind.PASSWORD_CHANGED: "update",
        EventKind.PASSWORD_RESET: "update",
        EventKind.FACTOR_ADDED: "create",
        EventKind.FACTOR_REMOVED: "delete",
    }
)
"""CAEP 1.0 section 3.3: `change_type`."""
_FACTORS = {"totp": "app", "webauthn": "fido2-roaming"}
"""Its `credential_type`, where it has a word of its own for a factor of ours."""
# Errors that another attempt would meet again: RFC 8935 section 2 says when not to retransmit.
_FINAL = frozenset({"invalid_request", "invalid_issuer", "invalid_audience"})
_RECOVERABLE = frozenset({"invalid_key", "authentication_failed", "access_denied"})


class SignalRoute:
    """Implements `Route`."""

    def __init__(self, target: str, events: tuple[str, ...]) -> None:
        self._target = target
        self._events = events

    def wanted(self, event: Event) -> Iterator[Wanted]:
        if signal_name(event) in self._events:
            yield Wanted(self._target, event.id, event)


def signal_name(event: Event) -> str | None:
    """Which of CAEP's events it is; None for one that is none."""
    if event.kind is EventKind.SESSION_ENDED and event.sid is not None:
        return "session-revoked"
    if event.kind in CREDENTIAL_CHANGES and event.sub is not None:
        return "credential-change"
    return None


class SetMaker:
    """Makes the Security Event Token of a delivery for one receiver."""

    def __init__(self, signer: TokenSigner, audience: str) -> None:
        self._signer = signer
        self._audience = audience

    def make(self, delivery: Delivery) -> str:
        """The same `jti` and claims at each attempt, so that a receiver knows it again.

        Without `exp` and `sub`, as the framework says (SSF 1.0 section 4.1). Raises `NotDelivered`.
        """
        event = delivery.event
        name = signal_name(event)
        if name is None:
            raise NotDelivered("no_signal", permanent=True)
        claims: dict[str, Any] = {
            "aud": self._audience,
            "iat": int(delivery.created),
            "jti": delivery.key,
            "sub_id": self._subject(event),
            "events": {_CAEP + name: _payload(name, event)},
        }
        if event.request_id:
            claims["txn"] = event.request_id
        return self._signer.sign(SET_TYPE, claims)

    def _subject(self, event: Event) -> dict[str, Any]:
        """Who it is about (RFC 9493 sections 3.2.4, 3.2.6 and SSF 1.0 section 3.2)."""
        user = {"format": "iss_sub", "iss": self._signer.issuer, "sub": event.sub}
        if signal_name(event) != "session-revoked":
            return user
        session = {"format": "opaque", "id": event.sid}
        whole = {"format": "complex", "session": session}
        return whole if event.sub is None else {**whole, "user": user}


def _payload(name: str, event: Event) -> dict[str, Any]:
    told: dict[str, Any] = {
        "event_timestamp": int(event.time),
        "initiating_entity": _initiator(event),
    }
    if event.why:
        told["reason_admin"] = {"en": event.why}
    if name == "credential-change":
        factor = str(event.details.get("factor", ""))
        told["change_type"] = CREDENTIAL_CHANGES[event.kind]
        told["credential_type"] = _FACTORS.get(factor, factor or "password")
    return told


def _initiator(event: Event) -> str:
    """CAEP 1.0 section 2."""
    if event.actor.startswith(("cli:", "console:")):
        return "admin"
    if event.why in {"reuse", "rollback", "too_many"} or event.actor.startswith("anomal"):
        return "policy"
    return "system" if event.actor else "user"


class SignalPusher:
    """Implements `Sender`: RFC 8935."""

    def __init__(self, poster: Poster, maker: SetMaker, authorization: str | None) -> None:
        self._poster = poster
        self._maker = maker
        self._authorization = authorization

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def send(self, delivery: Delivery) -> None:
        headers = {"Content-Type": MEDIA_TYPE, "Accept": "application/json"}
        if self._authorization is not None:
            headers["Authorization"] = self._authorization
        answer = self._poster.post(self._maker.make(delivery).encode(), headers)
        if not 200 <= answer.status < 300:
            code = _error_code(answer)
            raise answer.refusal(permanent=code in _FINAL, code=code)


def _error_code(answer: Answer) -> str:
    """The registered code of a refusal (RFC 8935 section 2.4), or nothing."""
    try:
        code = json.loads(answer.body)["err"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return code if isinstance(code, str) and code in _FINAL | _RECOVERABLE else ""
