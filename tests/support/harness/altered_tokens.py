"""Copies of `tokens` with one rule taken out, to see that somebody notices."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import tokens

_NUMBERS = itertools.count()
Alteration = tuple[str, str, str]
"""A module, a text that stands in it once, and what stands there instead."""


@contextmanager
def altered_tokens(directory: Path, alterations: Sequence[Alteration]) -> Iterator[ModuleType]:
    """A copy of the package under a name of its own, altered."""
    name = f"altered_tokens_{next(_NUMBERS)}"
    place = directory / name
    source = Path(tokens.__file__).parent
    shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
    for module, old, new in alterations:
        path = place / f"{module}.py"
        text = path.read_text("utf-8")
        assert text.count(old) == 1, f"{module}.py: {old!r} stands there {text.count(old)} times"
        path.write_text(text.replace(old, new), "utf-8")
    spec = importlib.util.spec_from_file_location(
        name, place / "__init__.py", submodule_search_locations=[str(place)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    try:
        spec.loader.exec_module(package)
        yield package
    finally:
        for loaded in [each for each in sys.modules if each.partition(".")[0] == name]:
            del sys.modules[loaded]
