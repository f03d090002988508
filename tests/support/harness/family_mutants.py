"""Family stores with one mistake each, made by changing the text of the real ones."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from issuer.families import memory_families
from revocation.redis_client import load_script

Change = tuple[str, str]
"""A piece of the source that is there once, and what it becomes."""


def changed(text: str, change: Change) -> str:
    """The text with the mistake; fails if the source no longer has the piece."""
    old, new = change
    assert text.count(old) == 1, f"no longer there, or not once: {old!r}"
    return text.replace(old, new)


def changed_scripts(script: str, change: Change) -> Callable[[str], str]:
    """Lua for `RedisFamilies(scripts=…)`, with the mistake in one script."""
    patched = changed(load_script("issuer.families", script), change)
    return lambda name: patched if name == script else load_script("issuer.families", name)


def changed_memory_families(
    monkeypatch: pytest.MonkeyPatch, change: Change
) -> type[memory_families.MemoryFamilies]:
    """A `MemoryFamilies` with the mistake, in a module of its own."""
    module = ModuleType("issuer.families._mutant")
    module.__package__ = "issuer.families"
    # Where dataclasses look up what annotations mean.
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = changed(inspect.getsource(memory_families), change)
    exec(compile(source, "<mutant of memory_families>", "exec"), module.__dict__)
    mutant: type[memory_families.MemoryFamilies] = module.__dict__["MemoryFamilies"]
    return mutant
