"""Token Status Lists (draft-ietf-oauth-status-list-17), from the denylist's replica.

A list says of a token what a gateway would: each of its records is held against the same rules.
Every place without a live token says "invalid", so that a store that forgot some says no more
than it knows.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt

from keys import Key
from revocation import ClockPutBack, Replica, ReplicaStale, RevocationError, TokenRevoked
from tokens import AccessClaims
from tokens.base64url import encode

from .store import SIZE, StatusRecord, StatusStore

STATUS_TYPE = "statuslist+jwt"
"""Section 5.1: the explicit type keeps it from passing for an access token (RFC 8725 3.11)."""
TTL = 5
"""Seconds after which a copy is to be fetched anew."""
LIFETIME = 60
"""Seconds for which a list may be gone by at all: within what entries outlive their tokens by."""
MADE_FOR = 2.0
"""Seconds for which a list is given out as it was made: so often, at most, one costs its making."""
MAKERS = 2
"""Threads of a process that make a list or wait for that: anybody may ask, and a full list takes a
second."""
VALID, INVALID = 0, 1


class StatusListStale(RevocationError):
    """This process' replica cannot vouch for its copy, so that no list can be made."""

    code = "status_list_stale"


class StatusListBusy(RevocationError):
    """As many threads as may wait for lists already do."""

    code = "status_list_busy"


@dataclass(frozen=True, slots=True)
class _Made:
    token: str
    at: float


class StatusLists:
    """Gives tokens their places, and makes the lists."""

    def __init__(
        self,
        store: StatusStore,
        replica: Replica,
        *,
        issuer: str,
        signing_key: Callable[[], Key],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._replica = replica
        self._issuer = issuer
        self._signing_key = signing_key
        self._clock = clock
        self._made: dict[str, _Made] = {}
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(MAKERS)

    def start(self) -> None:
        """Begin to follow the denylist, in the process that serves."""
        self._replica.start()

    def stop(self) -> None:
        self._replica.stop()
        self._store.close()

    def claim(self, claims: AccessClaims, kid: str) -> dict[str, Any]:
        """The `status` claim of a token that is about to be signed under this key (section 6.1).

        Raises `StatusUnavailable`.
        """
        record = StatusRecord.of(claims, kid)
        list_id, place = self._store.assign(record, int(self._clock()))
        return {"status_list": {"idx": place, "uri": self._uri(list_id)}}

    def token(self, list_id: str) -> str:
        """The Status List Token of a list (section 5.1), `MADE_FOR` old at the most.

        Where others are making lists it may be `TTL` old. Raises `UnknownStatusList`,
        `StatusUnavailable`, `StatusListStale`, `StatusListBusy`, `keys.KeyRingError`.
        """
        made = self._made_within(MADE_FOR, list_id)
        if made is not None:
            return made.token
        if not self._places.acquire(blocking=False):
            made = self._made_within(TTL, list_id)
            if made is None:
                raise StatusListBusy("other status lists are being made")
            return made.token
        try:
            with self._lock:
                made = self._made_within(MADE_FOR, list_id)
                if made is None:
                    now = self._clock()
                    made = _Made(self._make(list_id, int(now)), now)
                    self._forget(now)
                    self._made[list_id] = made
                return made.token
        finally:
            self._places.release()

    def _made_within(self, seconds: float, list_id: str) -> _Made | None:
        made = self._made.get(list_id)
        return made if made is not None and 0 <= self._clock() - made.at < seconds else None

    def _uri(self, list_id: str) -> str:
        return f"{self._issuer}/status/{list_id}"

    def _forget(self, now: float) -> None:
        for name in [name for name, made in self._made.items() if now - made.at >= TTL]:
            del self._made[name]

    def _make(self, list_id: str, now: int) -> str:
        bits = bytearray(b"\xff" * (SIZE // 8))
        for place, record in self._store.read(list_id, now).items():
            if self._status(record, now) == VALID:
                # Section 4.1: from the least significant bit of each byte to the most.
                bits[place // 8] &= ~(1 << place % 8) & 0xFF
        key = self._signing_key()
        private: Any = key.private
        return jwt.encode(
            {
                "sub": self._uri(list_id),
                "iat": now,
                "exp": now + LIFETIME,
                "ttl": TTL,
                "status_list": {"bits": 1, "lst": encode(zlib.compress(bytes(bits), 9))},
            },
            private,
            algorithm=key.alg,
            headers={"typ": STATUS_TYPE, "kid": key.kid},
        )

    def _status(self, record: StatusRecord, now: int) -> int:
        if record.exp <= now:
            return INVALID
        try:
            self._replica.check(record, record.kid)
        except (TokenRevoked, ClockPutBack):
            return INVALID
        except ReplicaStale as error:
            raise StatusListStale(str(error)) from None
        return VALID
