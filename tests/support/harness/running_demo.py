"""`gatepass demo` as a process, on a state directory that outlives it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import redis
from harness import secret_sources
from harness.gatepass_command import Completed, Gatepass, clean_environment
from harness.processes import Process, until
from harness.warm_process import WarmProcess
from harness.web import Site

from issuer.key_stores import open_key_store
from issuer.settings import DEMO_SETTINGS, read_settings
from keys import KeyRingError

BOUND = 5.0
"""Seconds from a revocation's acknowledgement to its refusal: the verifier's `max_staleness`."""


SOURCES = ("state-dir", "environment")
"""How a command may be told of a demo."""


class RunningDemo:
    """One demo. Starting it again, after whatever end, uses the same state directory."""

    def __init__(
        self,
        state_dir: Path,
        *options: str,
        program: Sequence[str] = (),
        alterations: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        as_json: bool = True,
    ) -> None:
        """`program` is started in place of a fork with `alterations`; `env` adds to ours."""
        self.state_dir = state_dir
        self.as_json = as_json
        arguments = ["demo", "--port", "0", "--state-dir", str(state_dir), *options]
        arguments += ["--json"] if as_json else []
        how: dict[str, Any] = {
            "cwd": state_dir.parent,
            "env": clean_environment(env),
            # Should we be killed: its Redis is in no group of ours and must be stopped by it.
            "death_signal": signal.SIGTERM,
            "prints_secrets": True,
        }
        self.process = (
            Process([*program, *arguments], **how)
            if program
            else WarmProcess(arguments, alterations=alterations, **how)
        )
        self.described: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start it and wait until it says that it is ready."""
        self.process.start()
        if self.as_json:
            self.described = json.loads(self.process.wait_for_line(r"^.*$", timeout=60).string)
            secret_sources.remember(self.described)
        else:
            # The last line of the banner.
            self.process.wait_for_line(r"^curl .*; curl .*/refresh ", timeout=60)
        return self

    def stop(self) -> int | None:
        """Stop it in order; its exit code."""
        return self.process.stop(timeout=30)

    def close(self) -> None:
        """End it and its Redis by SIGKILL: stopping in order takes seconds, and has tests."""
        self.process.stop(timeout=0)
        settings = self.state_dir / DEMO_SETTINGS
        if settings.is_file():
            with contextlib.suppress(KeyRingError):
                open_key_store(read_settings(settings)).load()  # whose keys no log may show
        pid = self.redis_pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # --- its parts ---------------------------------------------------------------------------

    @property
    def site(self) -> Site:
        """Where it answers."""
        context = None
        certificate = self.state_dir / "tls" / "certificate.pem"
        if self.described["base_url"].startswith("https:"):
            context = ssl.create_default_context(cafile=str(certificate))
        return Site(self.described["base_url"], self.described["api_url"], context)

    @property
    def username(self) -> str:
        return str(self.described["username"])

    @property
    def password(self) -> str:
        return str(self.described["password"])

    def login(self) -> dict[str, Any]:
        """The answer to a login with the account that it printed."""
        return self.site.login(self.username, self.password).granted()

    def refuses(self, access_token: str) -> None:
        """Wait until the example API refuses a token as revoked: within the stated bound."""
        for _ in until(BOUND, "the API's refusal of a revoked token", pause=0.02):
            answer = self.site.api(access_token)
            if answer.status == 401:
                assert "revoked" in answer.json["error_description"], answer.json
                return

    def redis_pid(self) -> int | None:
        """The process of its embedded Redis, None where that is not running."""
        try:
            pid = int((self.state_dir / "redis" / "redis.pid").read_text())
            # A zombie has no directory, and a stranger with its number has another.
            if Path(f"/proc/{pid}/cwd").samefile(self.state_dir / "redis"):
                return pid
        except (OSError, ValueError):
            pass
        return None

    def wait_for_redis(self, other_than: int | None = None) -> int:
        """Wait until a Redis runs and answers; `other_than` the process named. Its process."""
        client = redis.Redis.from_url(self.described["denylist_url"], socket_timeout=5)
        with contextlib.closing(client):
            for _ in until(30, "an embedded Redis that answers"):
                pid = self.redis_pid()
                if pid not in {None, other_than}:
                    with contextlib.suppress(redis.RedisError):
                        client.ping()
                        return int(pid or 0)
        raise AssertionError("unreachable")


def settings_environment(state_dir: Path) -> dict[str, str]:
    """The settings of a demo as variables, for commands that know nothing of its directory."""
    settings = json.loads((state_dir / "settings.json").read_text())
    return {
        f"GATEPASS_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.items()
    }


class Run(Protocol):
    """Runs a command on a demo's issuer."""

    def __call__(self, *arguments: str, stdin: str = "") -> Completed: ...


@dataclass(frozen=True, slots=True)
class Person:
    """An account of a test's own."""

    username: str
    password: str
    sub: str


def runner(gatepass: Gatepass, state_dir: Path, source: str) -> Run:
    """Runs commands that are told of a demo by `state-dir`, or by variables of its settings."""
    options: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    if source == "state-dir":
        options = ("--state-dir", str(state_dir))
    else:
        env = settings_environment(state_dir)

    def run(*arguments: str, stdin: str = "") -> Completed:
        end = arguments.index("--") if "--" in arguments else len(arguments)
        return gatepass(*arguments[:end], *options, *arguments[end:], stdin=stdin, env=env)

    return run
