"""Puts one Lua file together from the modules that lie beside this package."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a token must satisfy; durations in seconds."""

    issuer: str
    audience: str
    leeway: int
    max_lifetime: int
    max_staleness: float
    heartbeat_interval: float


def bundle(main: str, modules: Mapping[str, str], settings: Mapping[str, str | float]) -> str:
    """A program that needs no other file: settings, modules by the name they go by, then `main`.

    `modules` are files beside this package, `main` is code.

    `settings.digest` tells whether a gateway runs with these settings and this version of the code.
    """
    parts = [
        f"local {name} = (function()\n{source(file)}end)()\n" for name, file in modules.items()
    ]
    parts.append(main)
    table = "".join(f"  {name} = {_literal(value)},\n" for name, value in settings.items())
    digest = hashlib.sha256("".join([table, *parts]).encode()).hexdigest()[:16]
    head = f'local settings = {{\n{table}  digest = "{digest}",\n}}\n'
    return "".join(["-- Written by `gatepass agent`; do not edit.\n", head, *parts])


def digest_of(program: str) -> str:
    """The digest that a program which `bundle` made calls its own."""
    return program.partition('digest = "')[2].partition('"')[0]


def modules_of(names: Sequence[str]) -> dict[str, str]:
    """Modules that go by the name of their file."""
    return {name: f"{name}.lua" for name in names}


def source(file: str) -> str:
    """The code of one of the files."""
    return resources.files("gateway.agents").joinpath("lua", file).read_text("utf-8")


def _literal(value: str | float) -> str:
    if isinstance(value, str):
        # Every byte by its number: nothing that an operator gives can end the string.
        return '"' + "".join(f"\\{byte:03d}" for byte in value.encode()) + '"'
    return repr(value)


def replace_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file that a gateway reads; it appears whole. Raises `OSError`."""
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)  # one may lie there, and the umask take some away
        file.write(text)
    new.replace(path)
