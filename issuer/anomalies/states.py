"""What rules keep between events: one record for each session, account and network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Protocol


class AnomaliesUnavailable(Exception):
    """The store of the records does not answer; the events are looked at later."""

    code: ClassVar[str] = "anomalies_unavailable"


class States(Protocol):
    """Records by name, as text. All methods raise `AnomaliesUnavailable`; all may be repeated."""

    def load(self, names: Iterable[str]) -> dict[str, str]:
        """Of these records those that there are."""

    def save(self, records: Mapping[str, tuple[str, int]]) -> None:
        """Write records, each for so many seconds from now. Some may be written and others not."""

    def close(self) -> None:
        """Release connections."""


class MemoryStates:
    """Implements `States` for one process."""

    _shared: ClassVar[dict[str, MemoryStates]] = {}
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._records: dict[str, tuple[str, float]] = {}
        self._next_sweep = 0.0

    @classmethod
    def shared(cls, url: str) -> MemoryStates:
        """The one store of this process under a URL."""
        with cls._shared_lock:
            return cls._shared.setdefault(url, cls())

    def load(self, names: Iterable[str]) -> dict[str, str]:
        now = self._clock()
        with self._lock:
            found = {name: self._records[name] for name in names if name in self._records}
        return {name: text for name, (text, ends) in found.items() if ends > now}

    def save(self, records: Mapping[str, tuple[str, int]]) -> None:
        now = self._clock()
        with self._lock:
            for name, (text, seconds) in records.items():
                self._records[name] = (text, now + seconds)
            if now >= self._next_sweep:
                over = [name for name, (_, ends) in self._records.items() if ends <= now]
                for name in over:
                    del self._records[name]
                self._next_sweep = now + 60

    def __len__(self) -> int:
        return len(self._records)

    def close(self) -> None:
        """Nothing to release."""
