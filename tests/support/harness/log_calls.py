"""Every place in the code that writes a log line, found in the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
}
LOGGERS = {"log", "_log"}


@dataclass(frozen=True, slots=True)
class LogCall:
    """One call; `event` is empty where it is no literal."""

    place: str
    level: str
    event: str
    fields: frozenset[str]
    hands_over: bool
    """Whether there may be others, in a mapping that is handed over as a whole."""


def log_calls(root: Path, packages: tuple[str, ...]) -> Iterator[LogCall]:
    """Calls of a module's own logger."""
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in LEVELS
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id in LOGGERS
                ):
                    place = f"{path.relative_to(root)}:{node.lineno}"
                    yield LogCall(
                        place, LEVELS[node.func.attr], _event(node), _fields(node), _whole(node)
                    )


def _event(call: ast.Call) -> str:
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        # A bare placeholder says nothing of itself.
        return "" if first.value.replace("%s", "").strip(": ") == "" else first.value
    return ""


def _fields(call: ast.Call) -> frozenset[str]:
    given = {word.arg for word in call.keywords if word.arg is not None}
    extra = next((word.value for word in call.keywords if word.arg == "extra"), None)
    if isinstance(extra, ast.Call):
        given |= {word.arg for word in extra.keywords if word.arg is not None}
    return frozenset(given - {"extra", "exc_info"})


def _whole(call: ast.Call) -> bool:
    return any(
        word.arg is None or (word.arg == "extra" and not isinstance(word.value, ast.Call))
        for word in call.keywords
    )
