"""The `gatepass` command as programs see it: its exit code, and what it prints."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from harness.processes import Process, short_directory

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
        return json.loads(self.out)

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
    return Completed(done.returncode, done.stdout.decode(), done.stderr.decode())


class Gatepass:
    """Runs short commands quickly, one at a time: see `gatepass_zygote`."""

    def __init__(self) -> None:
        self.directory = short_directory("gp-cli-")
        self._socket = self.directory / "socket"
        self._process = Process(
            [sys.executable, "-P", str(_ZYGOTE), str(self._socket)], cwd=self.directory
        )

    def __enter__(self) -> Self:
        self._process.start()
        self._process.wait_for_line("listening")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __call__(
        self,
        *arguments: str,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        directory: Path | None = None,
        clock: Path | None = None,
    ) -> Completed:
        """Run one command in a directory without settings, unless another is named.

        `clock` is a file as `altered_issuer` takes it: the issuers' time, where a test moved it.
        """
        command = {
            "arguments": arguments,
            "environment": clean_environment(env),
            "directory": str(directory or self.directory),
            "clock": "" if clock is None else str(clock),
        }
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            socket.socket(socket.AF_UNIX) as connection,
        ):
            given.write(stdin.encode())
            given.seek(0)
            connection.settimeout(60)
            connection.connect(str(self._socket))
            streams = [stream.fileno() for stream in (given, out, err)]
            socket.send_fds(connection, [json.dumps(command).encode()], streams)
            code = int(connection.recv(16))
            out.seek(0)
            err.seek(0)
            return Completed(code, out.read().decode(), err.read().decode())
