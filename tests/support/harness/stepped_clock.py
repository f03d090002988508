"""A wall clock that a test steps under programs which know nothing of it."""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

from harness.processes import require_binary

_SOURCE = Path(__file__).with_suffix(".c")
_SECONDS = struct.Struct("=q")


class SteppedClock:
    """As the machine's, for whatever runs with `env`, plus the seconds that it has been put by."""

    def __init__(self, directory: Path) -> None:
        """`directory` is for its files."""
        library, file = directory / "stepped_clock.so", directory / "stepped_clock"
        compiler = require_binary("cc", "gcc")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, _SOURCE], check=True)
        file.write_bytes(_SECONDS.pack(0))
        with file.open("r+b") as opened:
            self._mapped = mmap.mmap(opened.fileno(), _SECONDS.size)
        self.env = {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(file)}

    def put(self, seconds: int) -> None:
        """Put it so many seconds ahead of the machine's, or behind it."""
        _SECONDS.pack_into(self._mapped, 0, seconds)
