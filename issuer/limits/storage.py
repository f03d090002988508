"""Where counts live: shared while the shared store answers, else in this process's memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import structlog
from limits.storage import MemoryStorage, Storage

from .errors import LimitsUnavailable
from .known_networks import KnownNetworks, MemoryKnownNetworks

log = structlog.get_logger("gatepass.issuer")

AWAY = 1.0
"""Seconds for which a store that did not answer is not asked: one request waits for it once."""

_T = TypeVar("_T")


class Counts(Protocol):
    """A storage of `limits` that also answers several questions at once.

    All raise `LimitsUnavailable` where it does not answer.
    """

    networks: KnownNetworks

    def incr(self, key: str, expiry: int, amount: int = 1) -> int: ...
    def get(self, key: str) -> int: ...
    def get_many(self, keys: Sequence[str]) -> list[int]: ...
    def get_expiry(self, key: str) -> float: ...
    def clear(self, key: str) -> None: ...
    def close(self) -> None: ...


class MemoryCounts(MemoryStorage):
    """Implements `Counts` for one process."""

    def __init__(self) -> None:
        super().__init__()
        self.networks: KnownNetworks = MemoryKnownNetworks()

    def get_many(self, keys: Sequence[str]) -> list[int]:
        return [self.get(key) for key in keys]

    def close(self) -> None:
        """Nothing to release."""


class SharedStorage(Storage):
    """The storage that `limits` and Flask-Limiter are given.

    A shared store that is away makes no guess free: this process counts alone until it is back. (A
    login cannot succeed meanwhile, since its session lives in the same store.) What it has counted
    alone still counts here then: a store that is full answers what it is asked, and counts nothing.
    """

    STORAGE_SCHEME = ("gatepass-limits",)  # type: ignore[assignment]

    def __init__(
        self,
        uri: str = "gatepass-limits://",
        wrap_exceptions: bool = False,  # noqa: FBT001, FBT002 - the signature of `limits`
        *,
        shared: Counts | None = None,
    ) -> None:
        """Without `shared` there is this process alone."""
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self.shared = shared
        self._own = MemoryCounts()
        self._away_until = 0.0
        self._lock = threading.Lock()

    @property
    def base_exceptions(self) -> type[Exception]:
        return LimitsUnavailable

    def _ask(self, question: Callable[[Counts], _T]) -> _T:
        shared = self.shared
        if shared is None:
            return question(self._own)
        if time.monotonic() >= self._away_until:
            try:
                return question(shared)
            except LimitsUnavailable as error:
                self._note_away(error)
        return question(self._own)

    def _note_away(self, error: LimitsUnavailable) -> None:
        with self._lock:
            now = time.monotonic()
            if now >= self._away_until:
                log.warning("limits_counted_alone", error=str(error))
            self._away_until = now + AWAY

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return self._ask(lambda counts: counts.incr(key, expiry, amount))

    def get(self, key: str) -> int:
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[str]) -> list[int]:
        """The counts of several keys, in one round trip."""
        if not keys:
            return []
        found = self._ask(lambda counts: counts.get_many(keys))
        return list(map(max, found, self._own.get_many(keys)))

    def get_expiry(self, key: str) -> float:
        ends = self._ask(lambda counts: counts.get_expiry(key))
        return max(ends, self._own.get_expiry(key))

    def clear(self, key: str) -> None:
        self._ask(lambda counts: counts.clear(key))
        self._own.clear(key)

    def check(self) -> bool:
        """Somebody always counts."""
        return True

    def reset(self) -> int | None:
        """Not for a running service: a namespace is emptied by whoever owns the store."""
        raise NotImplementedError

    def is_known(self, account: str, network: str) -> bool:
        """Whether the account has logged in from the network; False where nobody can tell."""
        return self._ask(lambda counts: counts.networks.is_known(account, network))

    def remember(self, account: str, network: str) -> None:
        """Note that the account has logged in from the network."""
        self._ask(lambda counts: counts.networks.remember(account, network))

    def close(self) -> None:
        """Release connections."""
        if self.shared is not None:
            self.shared.close()
