"""HAProxy's runtime API: commands over its unix socket (management guide, section 9.3)."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

TIMEOUT = 5.0
"""Seconds without an answer after which HAProxy counts as not there."""
_MOST_BYTES = 12_000
"""Of one line of commands; HAProxy takes up to its buffer's size, 16384 by default."""
_PROMPT = b"> "
_DONE = b"\n> "
"""The answer to a command that says nothing, each of a line's."""


class HaproxyUnavailable(Exception):
    """HAProxy does not answer, or not with what was expected; its maps are of unknown content."""


class Runtime:
    """One connection to one process of HAProxy."""

    def __init__(self, path: Path) -> None:
        """Raises `HaproxyUnavailable`."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT)
        try:
            # Before: of a socket that comes in between, nobody may think it were this one.
            self._inode = path.stat().st_ino
            self._socket.connect(str(path))
            self._socket.sendall(b"prompt\n")
            self._answer()
        except (OSError, HaproxyUnavailable) as error:
            self._socket.close()
            raise HaproxyUnavailable(f"{path}: {_reason(error)}") from None

    @property
    def replaced(self) -> bool:
        """Whether another process has made a socket of its own in this one's place.

        One that takes the socket over, as it does where `expose-fd listeners` is set, is not seen
        here; the old process knows that it is stopping.
        """
        try:
            return self._path.stat().st_ino != self._inode
        except OSError:
            return True

    def close(self) -> None:
        self._socket.close()

    def ask(self, command: str) -> str:
        """The answer to one command. Raises `HaproxyUnavailable`."""
        try:
            self._socket.sendall(f"{command}\n".encode())
            return self._answer().decode("utf-8", "replace")
        except OSError as error:
            raise HaproxyUnavailable(f"{self._path}: {_reason(error)}") from None

    def run(self, commands: Iterable[str]) -> None:
        """Carry out commands that answer nothing where all is well.

        Raises `HaproxyUnavailable`, also where one was refused.
        """
        for line in _lines(commands):
            try:
                self._socket.sendall(f"{';'.join(line)}\n".encode())
                self._expect(_DONE * len(line))
            except OSError as error:
                raise HaproxyUnavailable(f"{self._path}: {_reason(error)}") from None

    def entries(self, map_file: str) -> Iterator[tuple[str, str]]:
        """Keys and values of a map. Raises `HaproxyUnavailable`."""
        for line in self.ask(f"show map {map_file}").splitlines():
            if not line:
                continue
            parts = line.split(" ", 2)
            if not parts[0].startswith("0x"):
                raise HaproxyUnavailable(f"{self._path} refuses: {line[:200]}")
            yield parts[1], parts[2] if len(parts) > 2 else ""

    def _expect(self, wanted: bytes) -> None:
        found = b""
        while found != wanted:
            data = self._socket.recv(1 << 18)
            found += data
            if not data or not wanted.startswith(found):
                told = found.replace(_DONE, b"").decode("utf-8", "replace").strip()
                raise HaproxyUnavailable(f"{self._path} refuses: {told[:200]}")

    def _answer(self) -> bytes:
        # The prompt ends an answer; nothing that our maps hold has one in it.
        found = bytearray()
        while not (found.endswith(_DONE) or found == _PROMPT):
            data = self._socket.recv(1 << 18)
            if not data:
                raise HaproxyUnavailable("the connection was closed")
            found += data
        return bytes(found[: -len(_PROMPT)])


def _lines(commands: Iterable[str]) -> Iterator[list[str]]:
    """Commands put together so that HAProxy takes each lot as one line."""
    line: list[str] = []
    size = 0
    for command in commands:
        if line and size + len(command) > _MOST_BYTES:
            yield line
            line, size = [], 0
        line.append(command)
        size += len(command) + 1
    if line:
        yield line


def reload(master: Path) -> None:
    """Ask the master process to reload (management guide, section 9.4).

    It closes the connection as it does so. Raises `HaproxyUnavailable`.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(str(master))
            connection.sendall(b"reload\n")
            end = time.monotonic() + TIMEOUT
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(4096) and time.monotonic() < end:
                    pass
        except OSError as error:
            raise HaproxyUnavailable(f"{master}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    strerror = error.strerror if isinstance(error, OSError) else str(error)
    return strerror or type(error).__name__
