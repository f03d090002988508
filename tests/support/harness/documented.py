"""What a page of the docs says, for tests that run it themselves."""

from __future__ import annotations

import shlex
from pathlib import Path

DOCS = Path(__file__).resolve().parents[3] / "docs"


def benchmarks_documented() -> dict[str, list[str]]:
    """The arguments of each `python -m benchmarks.NAME` on the page of benchmarks, by name."""
    start = "python -m benchmarks."
    lines = (DOCS / "benchmarks.md").read_text("utf-8").splitlines()
    found = [shlex.split(line.removeprefix(start)) for line in lines if line.startswith(start)]
    return {name: arguments for name, *arguments in found}
