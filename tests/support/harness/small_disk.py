"""A file system that is small enough to be filled."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

from harness.processes import short_directory

_CHUNK = bytes(64 * 1024)


class SmallDisk:
    """A tmpfs of a few megabytes, mounted from entering to leaving; only root may mount."""

    def __init__(self, megabytes: int, owner: str | None = None) -> None:
        """`owner` is who may write to it beside root."""
        self._megabytes = megabytes
        self._owner = owner
        self.path = short_directory("gp-disk-")
        self._ballast = self.path / "ballast"

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise RuntimeError("to fill a disk, a small one is mounted: run this test as root")
        size = f"size={self._megabytes}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", self.path], check=True)
        if self._owner is not None:
            shutil.chown(self.path, self._owner, self._owner)
        return self

    def __exit__(self, *_: object) -> None:
        # Lazily: a server that is still ending must not keep it, or us.
        subprocess.run(["umount", "-l", self.path], check=True)
        Path(self.path).rmdir()

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for chunk in (_CHUNK, b"\0"):
                try:
                    while True:
                        ballast.write(chunk)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink()
