"""What a fuzzing target is, and how one input is judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

MOST_SECONDS = 0.5
"""Of processor time for one input, which is above a thousand times what an honest one takes."""


class Finding(AssertionError):
    """An input that is taken and may not be, or refused and may not be, or that takes too long."""


@dataclass(frozen=True)
class Target:
    """A parser under attack."""

    name: str
    judge: Callable[[bytes], bool]
    """Whether the input is taken; raises `Finding`, or whatever the parser may not raise."""
    seeds: Callable[[], list[bytes]]
    """Honest inputs, besides those of the corpus."""
    mutant: Callable[[], AbstractContextManager[object]]
    """Plants one mistake in the parser."""
    longest: int = 4096

    def one_input(self, data: bytes) -> bool:
        """Judge an input, and how long that took."""
        begun = time.thread_time()
        taken = self.judge(data)
        if time.thread_time() - begun > MOST_SECONDS:
            raise Finding(f"{len(data)} bytes took {time.thread_time() - begun:.2f} s")
        return taken


def agree(ours: object, theirs: object, what: str) -> None:
    """Raise `Finding` unless parser and oracle say the same."""
    if ours != theirs:
        raise Finding(f"{what}: we say {ours!r}, the oracle {theirs!r}")
