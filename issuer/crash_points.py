"""Named places between two steps of a change, where a process may die and nothing be lost.

In production they do nothing. Tests kill or stop real processes at each of them, and fail where
two steps have no such place between them (tests/crashes).
"""

from __future__ import annotations

from collections.abc import Callable


def _pass_by(_name: str) -> None:
    """What production does."""


_visit: Callable[[str], None] = _pass_by


def reach(name: str) -> None:
    """Say that the step before `name` is done and the next not begun."""
    _visit(name)


def watch(visit: Callable[[str], None]) -> None:
    """Have `visit` called at every crash point of this process, for tests."""
    global _visit  # noqa: PLW0603 - one process, one watcher
    _visit = visit
