"""The release before this one, as it was published: its code on this environment's dependencies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from harness import gateway_child

RELEASED = Path(__file__).parents[2] / "upgrades" / "released"
VERSION = "0.1.0"


@dataclass(frozen=True)
class OlderRelease:
    """A wheel that has been unpacked, and stands before the installed packages on their path."""

    directory: Path

    @classmethod
    def unpack(cls, directory: Path) -> Self:
        """Unpack the wheel, which needs nothing built."""
        with zipfile.ZipFile(RELEASED / f"gatepass-{VERSION}-py3-none-any.whl") as wheel:
            wheel.extractall(directory)
        return cls(directory)

    @property
    def environment(self) -> dict[str, str]:
        """What makes any program of this environment run that release's code."""
        return {"PYTHONPATH": str(self.directory)}

    def command(self, *arguments: str) -> list[str]:
        """A Python program that does not see the directory it is started in."""
        return [sys.executable, "-P", *arguments]

    def evaluate(self, script: str, argument: Any) -> Any:
        """What a script writes as JSON to standard output, given a value as JSON on its input."""
        done = subprocess.run(
            self.command("-c", script),
            input=json.dumps(argument),
            env={**os.environ, **self.environment},
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


class OlderGateway:
    """A verifier of that release with a replica of its own, in a process that dies with us."""

    def __init__(self, release: OlderRelease, **options: Any) -> None:
        """`options` are the verifier's."""
        self._lock = threading.Lock()
        self._child = subprocess.Popen(
            release.command(gateway_child.__file__, json.dumps(options)),
            env={**os.environ, **release.environment},
            cwd=release.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        assert self._ask("") == f"in step {VERSION}"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()  # which ends it
        try:
            self._child.wait(timeout=30)
        finally:
            self._child.kill()
            self._child.wait()
            self._child.stdout.close()

    def verdict(self, token: str) -> str:
        """`accepted`, or the code of the refusal."""
        return self._ask(token)

    def _ask(self, line: str) -> str:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with self._lock:
            self._child.stdin.write(f"{line}\n")
            self._child.stdin.flush()
            return self._child.stdout.readline().rstrip("\n")
