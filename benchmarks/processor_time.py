"""Who kept the processors busy: the whole machine, and each sort of program of a run."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TICKS = os.sysconf("SC_CLK_TCK")
SORTS = {
    "watching_gateway": "verifiers",
    "agent": "agents",
    "serve": "issuer",
    "redis-server": "Redis",
    "envoy": "Envoy",
    "haproxy": "HAProxy",
}
"""What a word of the command line, or the end of it, says."""
REST = "the rest"


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """What all processors have done so far, in ticks; `programs` are ours and our descendants."""

    busy: int
    idle: int
    programs: Counter[str]

    @classmethod
    def so_far(cls) -> Self:
        """The kernel's own counts."""
        ticks = [int(word) for word in Path("/proc/stat").read_text("ascii").split()[1:9]]
        idle = ticks[3] + ticks[4]
        return cls(sum(ticks) - idle, idle, Counter(dict(_programs())))

    def share_since(self, earlier: Self) -> float:
        """The share of all processors' time that was work, whoever's."""
        busy, idle = self.busy - earlier.busy, self.idle - earlier.idle
        return busy / max(1, busy + idle)

    def programs_since(self, earlier: Self, seconds: float) -> dict[str, float]:
        """How much of one processor each sort of program took, the greediest first."""
        spent = self.programs - earlier.programs
        return {sort: ticks / TICKS / seconds for sort, ticks in spent.most_common()}


def sort_of(command: list[str]) -> str:
    """What a process with these arguments is in a run."""
    # redis-server puts its address behind its name.
    for word in (command[0].partition(" ")[0], *command[1:]):
        for end, sort in SORTS.items():
            if Path(word).stem == end:
                return sort
    return REST


def _programs() -> Iterator[tuple[str, int]]:
    processes: dict[int, tuple[int, str]] = {}
    children = defaultdict(list)
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may have ended
            name, _, rest = (place / "stat").read_text("utf-8", "replace").rpartition(")")
            fields = rest.split()
            command = (place / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            # What was forked from a process that had loaded it has only its name of its own.
            command += name.partition("(")[2].split()
            processes[int(place.name)] = int(fields[11]) + int(fields[12]), sort_of(command)
            children[int(fields[1])].append(int(place.name))
    spent = Counter[str]()
    waiting = [os.getpid()]
    while waiting:
        pid = waiting.pop()
        waiting += children[pid]
        if pid in processes:
            ticks, sort = processes[pid]
            spent[sort] += ticks
    yield from spent.items()
