"""The `gatepass` command as programs see it: its exit code, and what it prints."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from harness import logged, secret_sources
from harness.processes import Process, is_readable, short_directory

PROGRAM = str(Path(sys.executable).with_name("gatepass"))
"""The console script of the environment that runs the tests."""
_ZYGOTE = Path(__file__).with_name("gatepass_zygote.py")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without any setting of whoever runs the tests, and `extra`."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith("GATEPASS_")}
    return {**ours, **(extra or {})}


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON value that it must be."""
        document = json.loads(self.out)
        secret_sources.remember(document)
        return document

    def done(self) -> Self:
        """Itself, if it succeeded."""
        assert self.code == 0, self
        return self

    def failed(self, code: int) -> str:
        """Standard error of a failure of this code: told in words, with nothing else printed."""
        assert self.code == code, self
        assert self.out == "", self
        assert self.err.strip(), self
        assert "Traceback" not in self.err, self.err
        return self.err

    def refused(self, code: int) -> str:
        """As `failed`, for a failure that must be one line; returns it."""
        text = self.failed(code)
        (line,) = text.splitlines()
        assert line.startswith("gatepass: "), line
        return line


def run_program(
    *arguments: str,
    directory: Path,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> Completed:
    """Run the console script itself, to its end."""
    done = subprocess.run(
        [PROGRAM, *arguments],
        check=False,
        cwd=directory,
        env=clean_environment(env),
        input=stdin,
        capture_output=True,
        timeout=timeout,
    )
    logged.keep(f"stderr of gatepass {' '.join(arguments)}", done.stderr)
    return Completed(done.returncode, done.stdout.decode(), done.stderr.decode())


class Running:
    """A command that a `Gatepass` has started, in a process group of its own."""

    def __init__(self) -> None:
        self.pid = 0
        self.streams = [
            tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as it may run
            for _ in range(3)
        ]
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(60)
        self.answers = self.connection.makefile("r")

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return is_readable(self.connection)

    def stderr(self) -> str:
        """All that it has written to standard error."""
        descriptor = self.streams[2].fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()

    def signal(self, number: signal.Signals) -> None:
        """Signal its process group; it must not have ended."""
        os.killpg(self.pid, number)

    def completed(self) -> Completed:
        """Wait for its end."""
        with contextlib.ExitStack() as streams:
            for stream in (*self.streams, self.answers, self.connection):
                streams.enter_context(stream)
            code = int(self.answers.readline())
            _, out, err = self.streams
            out.seek(0)
            err.seek(0)
            said = err.read()
            logged.keep("stderr of a gatepass command", said)
            return Completed(code, out.read().decode(), said.decode())

    def kill(self) -> None:
        """End its group if it has not ended yet."""
        if not self.connection._closed:  # type: ignore[attr-defined]
            if not self.ended:
                self.signal(signal.SIGKILL)
            self.completed()


class Gatepass:
    """Runs commands quickly: see `gatepass_zygote`."""

    def __init__(self) -> None:
        self.directory = short_directory("gp-cli-")
        self.socket = self.directory / "socket"
        self._process = Process(
            [sys.executable, "-P", str(_ZYGOTE), str(self.socket)], cwd=self.directory
        )

    def __enter__(self) -> Self:
        self._process.start()
        self._process.wait_for_line("listening")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(
        self,
        *arguments: str,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        alterations: Sequence[str] = (),
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> Running:
        """Start one command in a directory without settings, unless another is named.

        `alterations` are those of `altered_issuer`; `death_signal` is sent should we be killed.
        """
        command = {
            "arguments": arguments,
            "environment": clean_environment(env),
            "directory": str(directory or self.directory),
            "alterations": alterations,
            "death_signal": death_signal,
        }
        running = Running()
        running.streams[0].write(stdin.encode())
        running.streams[0].seek(0)
        running.connection.connect(str(self.socket))
        descriptors = [stream.fileno() for stream in running.streams]
        socket.send_fds(running.connection, [json.dumps(command).encode()], descriptors)
        running.pid = int(running.answers.readline())
        return running

    def __call__(
        self,
        *arguments: str,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        directory: Path | None = None,
        alterations: Sequence[str] = (),
    ) -> Completed:
        """Run one command to its end."""
        running = self.start(
            *arguments, stdin=stdin, env=env, directory=directory, alterations=alterations
        )
        return running.completed()
