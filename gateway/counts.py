"""What the forward-auth service counts, in memory that all of its processes can read.

Each process adds to words of its own with a store, and takes no lock: a request pays half a
microsecond. They are added up when somebody asks. A process that follows one that died goes on with
its words, so that no count ever falls.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, count
from pathlib import Path

from revocation import latency
from revocation.latency import Latencies

BOUNDS = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
"""Seconds: a token seen before takes some ten microseconds, one under an unknown key a fetch."""
ALLOWED = "allowed"
OTHER = "other"
CODES = (
    *("token_required", "invalid_request", "insufficient_scope"),
    *("insufficient_user_authentication", "revoked", "expired", "not_yet_valid", "malformed"),
    *("too_large", "algorithm_refused", "header_refused", "wrong_type", "unknown_kid"),
    *("bad_signature", "missing_claim", "invalid_claim", "wrong_issuer", "wrong_audience"),
    *("lifetime_too_long", "newer_format", "invalid_token", "replica_stale", "keys_unavailable"),
    *("denylist_unavailable", "denylist_lost", "denylist_not_ready", "denylist_went_back"),
)
"""The errors that a request may end with; any other counts as `other`."""
OUTCOMES = (ALLOWED, *CODES, OTHER)
ANSWERS = ("allowed", "refused", "unavailable")
"""What is timed apart: a refusal may be quicker, and who cannot be told may have waited."""

_NANOSECONDS = tuple(int(bound * 1e9) for bound in BOUNDS)
_MICROSECONDS = 1_000_000
_WORD = 8
_TIMED = len(OUTCOMES)
_TIMED_SIZE = len(BOUNDS) + 2
_LATENCY = _TIMED + len(ANSWERS) * _TIMED_SIZE
_WORDS = _LATENCY + len(latency.BOUNDS) + 2
_SIZE = _WORDS * _WORD


@dataclass(frozen=True, slots=True)
class Totals:
    """The words of all processes, added up."""

    words: tuple[int, ...]

    def outcomes(self) -> Iterator[tuple[str, int]]:
        """Each outcome with how often there was one."""
        return zip(OUTCOMES, self.words, strict=False)

    def durations(self, answer: str) -> tuple[list[tuple[float, int]], float]:
        """For each bound, infinity last, how many took so long at the most; and all seconds."""
        begin = _TIMED + ANSWERS.index(answer) * _TIMED_SIZE
        counts = self.words[begin : begin + len(BOUNDS) + 1]
        bounds = (*BOUNDS, float("inf"))
        return list(zip(bounds, accumulate(counts), strict=True)), self.words[
            begin + _TIMED_SIZE - 1
        ] / 1e9

    def latencies(self) -> tuple[list[tuple[float, int]], float]:
        """The same for how late revocations came, whichever process followed."""
        bounds = (*latency.BOUNDS, float("inf"))
        counts = self.words[_LATENCY : _LATENCY + len(bounds)]
        return list(zip(bounds, counts, strict=True)), self.words[-1] / _MICROSECONDS


class Counts:
    """The words of this process, and the sum of everybody's."""

    def __init__(self, directory: Path | None = None) -> None:
        """`directory` is where the processes of one service meet; without one this is alone."""
        self._directory = directory
        self._memory: mmap.mmap = mmap.mmap(-1, _SIZE) if directory is None else _own(directory)
        self._words = memoryview(self._memory).cast("Q")
        self._place = {outcome: index for index, outcome in enumerate(OUTCOMES)}
        self._followed: Latencies | None = None
        self._before: list[int] = []

    def decided(self, outcome: str, answer: int, nanoseconds: int) -> None:
        """Count a request and its time; `answer` is a place in `ANSWERS`."""
        words = self._words
        words[self._place.get(outcome, _TIMED - 1)] += 1
        begin = _TIMED + answer * _TIMED_SIZE
        words[begin + bisect_left(_NANOSECONDS, nanoseconds)] += 1
        words[begin + _TIMED_SIZE - 1] += nanoseconds

    def publish(self, latencies: Latencies | None) -> None:
        """Let the others read what this process, if it follows, knows of latency by now."""
        if latencies is None:
            return
        if latencies is not self._followed:
            self._followed, self._before = latencies, list(self._words[_LATENCY:])
        now = [so_far for _, so_far in latencies.buckets()]
        now.append(int(latencies.total * _MICROSECONDS))
        for place, (before, more) in enumerate(zip(self._before, now, strict=True)):
            self._words[_LATENCY + place] = before + more

    def totals(self) -> Totals:
        """Of all processes of the service, those that have ended too."""
        if self._directory is None:
            return Totals(tuple(self._words))
        every = [
            memoryview(content).cast("Q")
            for path in self._directory.glob("counts-*")
            if len(content := path.read_bytes()) == _SIZE
        ]
        return Totals(tuple(map(sum, zip(*every, strict=True))))


def _own(directory: Path) -> mmap.mmap:
    """The first file that no living process has: its lock goes with whoever held it."""
    for number in count():
        handle = os.open(directory / f"counts-{number}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        os.ftruncate(handle, _SIZE)
        # Kept open for as long as the process lives, and with it the lock.
        return mmap.mmap(handle, _SIZE)
    raise AssertionError("there is always another number")
