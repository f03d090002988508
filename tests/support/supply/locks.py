"""The lock files as values: what is installed, from which artifacts, and on whose behalf."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
RUNTIME = ROOT / "requirements.lock"
TESTS = ROOT / "requirements-test.lock"
HSM = frozenset({"python-pkcs11", "asn1crypto"})
"""What the extra `hsm` adds; the runtime lock leaves it out, since few install it."""

_PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_VIA = re.compile(r"#\s+(?:via\s+)?([A-Za-z0-9._-]+)(?:\s|$)")
PROJECT = "gatepass"


@dataclass(frozen=True, slots=True)
class Pin:
    """One locked release; `hashes` are those of its artifacts, `via` who asks for it."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    via: frozenset[str]


def pins(lock: Path) -> tuple[Pin, ...]:
    """Every pin of a lock file, by name. Raises ValueError for a line that is not understood."""
    found: list[tuple[re.Match[str], list[str]]] = []
    for line in lock.read_text("utf-8").splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            pin = _PIN.match(line)
            if pin is None:
                raise ValueError(f"{lock.name}: not understood: {line}")
            found.append((pin, []))
        elif found:
            found[-1][1].append(line.strip())
    return tuple(sorted((_pin(pin, rest) for pin, rest in found), key=lambda one: one.name))


def runtime_pins() -> tuple[Pin, ...]:
    """What an installation may consist of, every extra included."""
    more = [pin for pin in pins(TESTS) if pin.name in HSM]
    return tuple(sorted([*pins(RUNTIME), *more], key=lambda one: one.name))


def _pin(pin: re.Match[str], rest: list[str]) -> Pin:
    text = "\n".join(rest)
    via = {name for line in rest if (who := _VIA.match(line)) and (name := who[1]) != "via"}
    return Pin(
        pin[1].lower(), pin[2], (pin[3] or "").strip(), tuple(_HASH.findall(text)), frozenset(via)
    )
