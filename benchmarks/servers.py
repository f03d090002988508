"""Servers for a run: on loopback or unix sockets, ended by their pid, never left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import redis

from issuer.embedded_redis import find_server

HOST = "127.0.0.1"
START_TIMEOUT = 60.0
STOP_TIMEOUT = 15.0
ROOT = Path(__file__).resolve().parent.parent
_POLL = 0.02


class BenchmarkError(Exception):
    """Something that a benchmark needs is missing or does not start; the text says what."""


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without anybody's Gatepass settings, and with `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEPASS_")}
    return {**kept, "PYTHONPATH": str(ROOT), **(extra or {})}


def own_command(name: str) -> str:
    """A command that was installed beside this Python. Raises `BenchmarkError`."""
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        raise BenchmarkError(f"{name} is not installed beside {sys.executable}: see ./run bench")
    return str(path)


@contextmanager
def running(
    argv: Sequence[str],
    ready: Callable[[], bool],
    *,
    directory: Path,
    env: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """A program in `directory`, its output in a file there, until it is `ready`; ended after.

    Raises `BenchmarkError` with the end of its output if it does not get ready.
    """
    output = directory / "output.txt"
    if shutil.which("setpriv"):
        # The kernel ends it should we be killed.
        argv = ["setpriv", "--pdeathsig", "TERM", "--", *argv]
    with output.open("wb") as sink:
        process = subprocess.Popen(
            argv,
            cwd=directory,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                last = output.read_text(errors="replace")[-2000:]
                raise BenchmarkError(f"{' '.join(argv)} does not start:\n{last}")
            time.sleep(_POLL)
        yield
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        # Not reaped yet, so the group's number is still its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True, slots=True)
class RedisSocket:
    """Where a redis-server listens."""

    path: Path

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.path), **options)


def redis_command() -> str:
    """The redis-server that the embedded default would take. Raises `BenchmarkError`."""
    server = find_server()
    if server is None:
        raise BenchmarkError("redis-server is missing: apt-get install -y redis-server")
    return str(server)


def redis_version() -> str:
    """Raises `BenchmarkError`."""
    said = subprocess.run(
        [redis_command(), "--version"], check=True, capture_output=True, text=True, timeout=10
    ).stdout
    return next((word[2:] for word in said.split() if word.startswith("v=")), said.strip())


@contextmanager
def redis_server(directory: Path, *, fsync: str) -> Iterator[RedisSocket]:
    """A redis-server on a unix socket, its append-only file in `directory`.

    `fsync` is its `appendfsync`: `always`, the embedded default, or `everysec`. Raises
    `BenchmarkError`.
    """
    path = directory / "redis.sock"
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "600",
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": fsync,
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    argv = [
        redis_command(),
        *(part for name, value in options.items() for part in (f"--{name}", value)),
    ]

    def answers() -> bool:
        with closing(redis.Redis(unix_socket_path=str(path))) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    with running(argv, answers, directory=directory):
        yield RedisSocket(path)


def answers_http(port: int, path: str) -> Callable[[], bool]:
    """Whether a server on loopback answers 200."""

    def ready() -> bool:
        with closing(HTTPConnection(HOST, port, timeout=5)) as connection:
            try:
                connection.request("GET", path)
                return connection.getresponse().status == 200
            except OSError:
                return False

    return ready
