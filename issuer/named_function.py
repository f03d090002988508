"""A function of the operator's own, which a setting names as `module:function`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from .settings import SettingsError


def named_function(path: str, setting: str) -> Callable[..., Any]:
    """The function; `setting` is what an error begins with. Raises `SettingsError`."""
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"{setting}: {error}") from None
    if not callable(found):
        raise SettingsError(f"{setting}: {path} is not callable")
    return found  # type: ignore[no-any-return]
