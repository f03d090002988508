"""Which token has which place in which list."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tokens import MAX_LEEWAY, AccessClaims

from ..parties import LONGEST_ACCESS_LIFETIME

SIZE = 1 << 17
"""Places in a list: 16 KB of bits before compression."""
FILL = SIZE // 2
"""Tokens in a list: half of it stays free, so that a random place is soon found."""
SPAN = 900
"""Seconds for which a list takes in new tokens."""
KEPT = SPAN + LONGEST_ACCESS_LIFETIME + MAX_LEEWAY
"""Seconds for which a list is kept: until its last token is refused everywhere."""
TRIES = 40
"""Random places that are tried; with half of them free all fail once in 2**40."""


class StatusUnavailable(Exception):
    """The store does not answer: no token can be given a place, no list be read."""


class UnknownStatusList(Exception):
    """There is no such list, or it is over, or what was known of it was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusRecord:
    """What a list must know of a token to say what a verifier of ours would say."""

    jti: str
    sid: str
    sub: str
    sub_ver: int
    client_id: str
    aud: tuple[str, ...]
    iat: int
    exp: int
    kid: str

    @classmethod
    def of(cls, claims: AccessClaims, kid: str) -> StatusRecord:
        return cls(
            jti=claims.jti,
            sid=claims.sid,
            sub=claims.sub,
            sub_ver=claims.sub_ver,
            client_id=claims.client_id,
            aud=claims.aud,
            iat=claims.iat,
            exp=claims.exp,
            kid=kid,
        )

    def pack(self) -> str:
        return json.dumps([getattr(self, name) for name in self.__slots__], separators=(",", ":"))

    @classmethod
    def unpack(cls, text: str | bytes) -> StatusRecord:
        fields = dict(zip(cls.__slots__, json.loads(text), strict=True))
        return cls(**{**fields, "aud": tuple(fields["aud"])})


class StatusStore(Protocol):
    """Places of tokens; all methods raise `StatusUnavailable`."""

    def assign(self, record: StatusRecord, now: int) -> tuple[str, int]:
        """A list and a place in it that no other token has or gets. Atomic.

        A caller that never hears of it has wasted a place and nothing else.
        """

    def read(self, list_id: str, now: int) -> Mapping[int, StatusRecord]:
        """The tokens of a list by their place. Raises `UnknownStatusList`."""

    def close(self) -> None:
        """Release connections."""


def new_list_id() -> str:
    """128 random bits: nobody guesses where the next list is."""
    return secrets.token_urlsafe(16)


def random_places() -> list[int]:
    """Where to try; random, so that a place tells nothing of when its token was issued."""
    return [secrets.randbelow(SIZE) for _ in range(TRIES)]


@dataclass(slots=True)
class _List:
    begun: int
    records: dict[int, StatusRecord] = field(default_factory=dict)


class MemoryStatusStore:
    """Implements `StatusStore` for one process."""

    _shared: dict[str, MemoryStatusStore] = {}  # noqa: RUF012 - the registry of `shared`

    def __init__(self) -> None:
        self._lists: dict[str, _List] = {}
        self._current = ""
        self._lock = threading.Lock()

    @classmethod
    def shared(cls, url: str) -> MemoryStatusStore:
        """The store of this URL, the same for everybody in the process."""
        return cls._shared.setdefault(url, cls())

    def assign(self, record: StatusRecord, now: int) -> tuple[str, int]:
        with self._lock:
            self._drop_expired(now)
            current = self._lists.get(self._current)
            if current is None or len(current.records) >= FILL or now >= current.begun + SPAN:
                self._current = new_list_id()
                current = self._lists[self._current] = _List(now)
            place = next(at for at in random_places() if at not in current.records)
            current.records[place] = record
            return self._current, place

    def read(self, list_id: str, now: int) -> Mapping[int, StatusRecord]:
        with self._lock:
            self._drop_expired(now)
            if list_id not in self._lists:
                raise UnknownStatusList(list_id)
            return dict(self._lists[list_id].records)

    def _drop_expired(self, now: int) -> None:
        over = [name for name, kept in self._lists.items() if now >= kept.begun + KEPT]
        for name in over:
            del self._lists[name]

    def close(self) -> None:
        """Nothing to release."""
