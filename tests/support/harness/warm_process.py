"""`gatepass` commands in forks of a process that has loaded them: a second of CPU less for each."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

from harness.gatepass_command import PROGRAM, Gatepass, Running
from harness.processes import Process, ProcessError, _alive


@cache
def warm() -> Gatepass:
    """What all tests of this process start their commands and servers with."""
    return Gatepass().__enter__()


def end_warm() -> None:
    """End it, if anybody has needed it."""
    if warm.cache_info().currsize:
        warm().__exit__()
        warm.cache_clear()


def put_on_path(directory: Path) -> None:
    """Write a `gatepass` there that a shell finds, and that runs in a fork as well."""
    client = Path(__file__).with_name("gatepass_client.py")
    program = directory / "gatepass"
    program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -I -S "{client}" "{warm().socket}" "$@"\n'
    )
    program.chmod(0o755)


class _Fork:
    """As much of `subprocess.Popen` as a `Process` needs."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.pid = running.pid
        self.returncode: int | None = None

    def wait(self, timeout: float) -> int:
        if self.returncode is not None:
            return self.returncode
        self.running.connection.settimeout(timeout)
        # No word: whoever forked it is gone, and it with that.
        self.returncode = int(self.running.answers.readline() or -signal.SIGKILL)
        for stream in (self.running.answers, self.running.connection, self.running.streams[0]):
            stream.close()
        return self.returncode


class WarmProcess(Process):
    """One `gatepass` command; for the rest a `Process` like any other."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        alterations: Sequence[str] = (),
        **options: Any,
    ) -> None:
        """`alterations` are those of `altered_issuer`, `options` those of any process."""
        super().__init__([PROGRAM, *arguments], cwd=cwd, env=env, **options)
        self._alterations = alterations

    def start(self) -> Self:
        if self.running:
            raise ProcessError(f"already running: {self.argv[0]}")
        if self._popen is not None:
            self._reap()
        running = warm().start(
            *self.argv[1:],
            env=self.env,
            directory=self.cwd,
            alterations=self._alterations,
            death_signal=self.death_signal,
        )
        self._streams = {"stdout": running.streams[1], "stderr": running.streams[2]}
        self._popen = _Fork(running)
        _alive.add(self)
        return self

    def _ended(self) -> bool:
        fork = self._popen
        return fork is None or fork.returncode is not None or fork.running.ended
