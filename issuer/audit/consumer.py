"""Whoever follows the audit log: told every event at least once, in order, over all issuers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .event import Event


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event and its place in the log."""

    seq: int
    event: Event


class Consumer(Protocol):
    """Follows the log under a name; one process at a time, whichever holds the lease.

    The place up to which it has come is kept in SQL and moves on once `consume` has returned, so
    that a batch is given again where the process died, or `consume` raised, in between.
    """

    @property
    def name(self) -> str:
        """Under which its place is kept; at most 32 characters."""

    def consume(self, batch: Sequence[Recorded]) -> None:
        """Deal with events in order. May see one again, with the same `seq`."""
