"""A ring in a directory of its own, as the tests of its store make it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

from keys import KeyRing, RotationPolicy, rotate

SECRET = bytes(range(32))
PASSPHRASE = "correct horse battery staple"
POLICY = RotationPolicy(algorithms=("ES256", "EdDSA"))
NOW = 1_000_000


def rotating(now: int = NOW) -> Callable[[KeyRing], KeyRing]:
    return lambda ring: rotate(ring, now, POLICY)


def ring_file(directory: Path) -> Path:
    return directory / "keyring.jwe"


def b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
