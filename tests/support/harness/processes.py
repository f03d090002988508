"""Programs under test: started, waited for with a deadline, and never left behind."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import secrets
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from harness import logged

POLL_SECONDS = 0.01


class ProcessError(RuntimeError):
    """A program that ended or stayed silent where it should not; the text holds its output."""


def monotonic() -> float:
    """Seconds of the real monotonic clock, also while freezegun has stopped `time`."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def until(timeout: float, what: str, pause: float = POLL_SECONDS) -> Iterator[None]:
    """Yield until the caller leaves the loop; TimeoutError once `timeout` seconds have passed."""
    end = monotonic() + timeout
    while True:
        yield
        if monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(pause)


PORTS = range(10_240, 32_768)
"""Below those that the system gives to connections, so that none takes a server's while that is
down for a moment."""


def free_port() -> int:
    """A loopback TCP port that was free a moment ago; whoever binds it may still lose a race."""
    for _ in range(1000):
        port = PORTS.start + secrets.randbelow(len(PORTS))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("there is no free port")


def is_readable(connection: socket.socket) -> bool:
    """Whether something has come, or its end. (`select` takes no descriptor above 1,023.)"""
    found = select.poll()
    found.register(connection, select.POLLIN)
    return bool(found.poll(0))


def require_binary(name: str, package: str, places: Sequence[str] = ()) -> str:
    """The path of a system program: a missing one is an error, since a skip would hide it."""
    path = os.pathsep.join([*places, os.environ.get("PATH", os.defpath), "/usr/bin", "/usr/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise RuntimeError(f"{name} is missing: apt-get install -y {package} (or: ./run test)")
    return found


def short_directory(prefix: str) -> Path:
    """A private temporary directory whose path leaves room for a unix socket's 107 bytes."""
    place = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix=prefix, dir=place if len(place) < 60 else "/tmp"))


_alive: set[Process] = set()


class Process:
    """One program in a process group of its own, its output kept until the next start.

    It dies with us: `stop` and `kill` reach the whole group, an atexit hook kills what is left,
    and the kernel signals it (`death_signal`) should this process be killed. The kernel counts
    the *thread* that started it as its parent, so only the main thread asks for that.
    """

    def __init__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
        stop_signal: signal.Signals = signal.SIGTERM,
        prints_secrets: bool = False,
    ) -> None:
        """Take what `start` needs: `env` is added to ours, `user` is who to become as root.

        `prints_secrets`: its standard output is for whoever started it, and no log.
        """
        self.argv = [os.fspath(part) for part in argv]
        self.cwd = cwd
        self.env = {**os.environ, **(env or {})}
        self.user = user
        self.death_signal = death_signal
        self.stop_signal = stop_signal
        self.prints_secrets = prints_secrets
        self._popen: subprocess.Popen[bytes] | None = None
        self._streams: dict[str, IO[bytes]] = {}
        self._last_words: dict[str, bytes] = {}
        self._owner = os.getpid()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- life --------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it, or start it again with fresh output; its readiness is the caller's to await."""
        if self.running:
            raise ProcessError(f"already running: {self.argv[0]}")
        if self._popen is not None:
            self._reap()
        self._streams = {
            name: tempfile.TemporaryFile()  # noqa: SIM115 - kept until the next start
            for name in ("stdout", "stderr")
        }
        argv = self.argv
        if threading.current_thread() is threading.main_thread() and shutil.which("setpriv"):
            argv = ["setpriv", "--pdeathsig", self.death_signal.name[3:], "--", *argv]
        try:
            self._popen = subprocess.Popen(
                argv,
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=self._streams["stdout"],
                stderr=self._streams["stderr"],
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
            )
        except OSError:
            for stream in self._streams.values():
                stream.close()
            raise
        _alive.add(self)
        return self

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        if self._popen is None:
            raise ProcessError(f"never started: {self.argv[0]}")
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has started and not ended."""
        return self._popen is not None and not self._ended()

    @property
    def exit_code(self) -> int | None:
        """Its exit code, a negative signal number, or None while it runs."""
        return None if self._popen is None or not self._ended() else self._reap()

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for it to end by itself and return its exit code."""
        assert self._popen is not None
        for _ in until(timeout, f"{self.argv[0]} ending"):
            if self._ended():
                break
        return self._reap()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it alone."""
        os.kill(self.pid, number)

    def pause(self) -> None:
        """Stop its whole group where it stands (SIGSTOP): it keeps its sockets and says nothing."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused group go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def members(self) -> list[int]:
        """The process ids of its group: its own and those of what it has started."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(int(place.name)) == self.pid:
                    found.append(int(place.name))
        return found

    def stop(self, timeout: float = 10.0) -> int | None:
        """Ask it to end, then kill its group; the exit code, or None if it never started."""
        if self._popen is None:
            return None
        if self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, self.stop_signal)
                os.kill(self.pid, signal.SIGCONT)
            with contextlib.suppress(TimeoutError):
                for _ in until(timeout, "stop"):
                    if self._ended():
                        break
        return self._reap()

    def kill(self) -> int:
        """SIGKILL the group at once, as a power cut would, and return the exit code."""
        return self._reap()

    def _ended(self) -> bool:
        """Whether it has ended; it stays a zombie, so that its group's number stays its own."""
        if self._popen is None or self._popen.returncode is not None:
            return True
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, self._popen.pid, flags) is not None

    def _reap(self) -> int:
        assert self._popen is not None
        if self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        code = self._popen.wait(timeout=30)
        for name, stream in self._streams.items():
            self._last_words[name] = _content(stream)
            if name == "stderr" or not self.prints_secrets:
                logged.keep(f"{name} of {' '.join(self.argv)[:200]}", self._last_words[name])
            stream.close()
        for path in self._log_files():
            logged.keep(str(path), path.read_bytes())
        self._streams = {}
        _alive.discard(self)
        return code

    def _log_files(self) -> list[Path]:
        """Those in a directory of its own."""
        own = self.cwd is not None and Path(self.cwd).is_relative_to(tempfile.gettempdir())
        return (
            [path for path in Path(str(self.cwd)).rglob("*.log") if path.is_file()] if own else []
        )

    # --- output ------------------------------------------------------------------------------

    def stdout(self) -> str:
        """Everything it has written to standard output since its last start."""
        return self._read("stdout")

    def stderr(self) -> str:
        """Everything it has written to standard error since its last start."""
        return self._read("stderr")

    def _read(self, stream: str) -> str:
        if stream in self._streams:
            return _content(self._streams[stream]).decode(errors="replace")
        return self._last_words.get(stream, b"").decode(errors="replace")

    def describe(self) -> str:
        """Its command, its exit code and the end of its output, for a failure's message."""
        parts = [f"$ {' '.join(self.argv)}", f"exit code: {self.exit_code}"]
        for stream in ("stdout", "stderr"):
            parts += [f"--- {stream}", *self._read(stream).splitlines()[-40:]]
        return "\n".join(parts)

    # --- readiness ---------------------------------------------------------------------------

    def wait_until(self, ready: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
        """Poll `ready`; ProcessError with the output if the program ends or time runs out first."""
        try:
            for _ in until(timeout, what):
                if ready():
                    return
                if not self.running:
                    raise ProcessError(f"it ended before {what}\n{self.describe()}")
        except TimeoutError as error:
            raise ProcessError(f"{error}\n{self.describe()}") from None

    def wait_for_line(
        self, pattern: str = "", *, stream: str = "stdout", timeout: float = 30.0
    ) -> re.Match[str]:
        """The first complete line that `pattern` is found in (any line by default)."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            text = self._read(stream)
            complete = text[: text.rfind("\n") + 1].splitlines()
            found.extend(match for line in complete if (match := re.search(pattern, line)))
            return bool(found)

        # A program may say its line and end at once: look once more before calling it a failure.
        try:
            self.wait_until(look, f"a line like {pattern!r}", timeout)
        except ProcessError:
            if not look():
                raise
        return found[0]

    def wait_for_url(
        self, url: str, *, timeout: float = 30.0, context: ssl.SSLContext | None = None
    ) -> int:
        """The status of the first HTTP answer below 500, whatever any proxy setting says."""
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        opener = urllib.request.build_opener(*handlers)
        status = 599

        def answers() -> bool:
            nonlocal status
            try:
                with opener.open(url, timeout=5) as answer:
                    status = answer.status
            except urllib.error.HTTPError as error:
                status = error.code
                error.close()
            except OSError:
                return False
            return status < 500

        self.wait_until(answers, f"an answer from {url}", timeout)
        return status


def _content(stream: IO[bytes]) -> bytes:
    """All that a program wrote; its own offset into the shared file is left alone."""
    return os.pread(stream.fileno(), os.fstat(stream.fileno()).st_size, 0)


@atexit.register
def _kill_the_rest() -> None:
    for process in list(_alive):
        if process._owner == os.getpid():  # a forked child must not end its parent's servers
            process.kill()
