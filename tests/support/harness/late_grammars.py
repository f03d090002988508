"""Puts off the grammars of RFC 3987 that jsonschema makes as it is imported: two seconds of CPU.

They are for the formats `iri` and `iri-reference`, which few documents have.
"""

from __future__ import annotations

import sys
from types import ModuleType

_NAME = "rfc3987_syntax"


def put_off() -> None:
    """From now on they are made where the first such text is checked."""
    if _NAME not in sys.modules:
        late = ModuleType(_NAME)
        late.is_valid_syntax = _is_valid_syntax  # type: ignore[attr-defined]
        sys.modules[_NAME] = late


def _is_valid_syntax(term: str, text: str) -> bool:
    late = sys.modules.get(_NAME)
    if late is not None and late.__dict__.get("is_valid_syntax") is _is_valid_syntax:
        del sys.modules[_NAME]
    from rfc3987_syntax import is_valid_syntax

    return bool(is_valid_syntax(term, text))
