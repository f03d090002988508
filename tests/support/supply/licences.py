"""Which licences the packages of an installation may have, and which they have."""

from __future__ import annotations

import re
from importlib import metadata

ALLOWED = {
    "MIT": "permissive",
    "MIT-0": "permissive",
    "BSD-2-Clause": "permissive",
    "BSD-3-Clause": "permissive",
    "Apache-2.0": "permissive, our own",
    "PSF-2.0": "permissive",
}
"""SPDX identifiers, each with its reason. Of `A OR B` one is enough, `A AND B` needs both."""

EXCEPTIONS = {
    "psycopg": (
        "LGPL-3.0-only",
        "imported, never copied or changed: who has it can put another in its place (section 4)",
    ),
    "psycopg-binary": ("LGPL-3.0-only", "as psycopg"),
    "pathspec": ("MPL-2.0", "a tool of the build, unchanged; copyleft for its own files alone"),
}
"""Packages with another licence, and why each may stay."""

ELSEWHERE = {"async-timeout": ("Apache-2.0", "for Python before 3.11.3 alone")}
"""What this Python does not install, as its own metadata has it."""

# What packages without an SPDX expression write instead.
_CLASSIFIERS = {
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
_TEXTS = {"MIT License": "MIT", "MIT": "MIT", "Apache-2.0": "Apache-2.0"}
_STATED = {
    "itsdangerous": "BSD-3-Clause",  # its classifier says no more than BSD
    "jinja2": "BSD-3-Clause",
    "pyasn1-modules": "BSD-2-Clause",  # as its LICENSE.txt words it
}


def licence_of(name: str) -> str:
    """The SPDX expression of a package. Raises LookupError where it states none that is known."""
    if name in ELSEWHERE:
        return ELSEWHERE[name][0]
    found = metadata.metadata(name)
    expression = found.get("License-Expression")
    if expression:
        return str(expression)
    text = found.get("License") or ""
    if text in ALLOWED or text in _TEXTS:
        return _TEXTS.get(text, text)
    classifiers = {
        _CLASSIFIERS[last]
        for line in found.get_all("Classifier") or []
        if line.startswith("License ::") and (last := line.rpartition(" :: ")[2]) in _CLASSIFIERS
    }
    if len(classifiers) == 1:
        return classifiers.pop()
    if name in _STATED:
        return _STATED[name]
    raise LookupError(f"{name} states no licence that is known here")


def permitted(name: str, expression: str) -> bool:
    """Whether a package may be shipped under an expression (SPDX, without brackets)."""
    if name in EXCEPTIONS:
        return EXCEPTIONS[name][0] == expression
    return any(
        all(each in ALLOWED for each in re.split(r"\s+AND\s+", choice))
        for choice in re.split(r"\s+OR\s+", expression)
    )
