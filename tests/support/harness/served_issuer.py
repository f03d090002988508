"""`gatepass serve` as a process, its settings in a file that it reads again on SIGHUP."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from harness.certificates import Certificates
from harness.issuer_app import CHEAP_HASHING, PASSWORD, USERNAME
from harness.processes import free_port
from harness.warm_process import WarmProcess
from harness.web import Answer, Site

from issuer.accounts import PasswordHasher, PasswordPolicy, SqlAccounts
from issuer.database import open_engine

SETTINGS_FILE = "gatepass.toml"
READY_SECONDS = 60.0


def toml(settings: dict[str, Any]) -> str:
    """Settings as TOML; tables are written as inline ones."""
    return "".join(f"{name} = {_value(value)}\n" for name, value in settings.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)


class ServedIssuer:
    """One `gatepass serve`, on two workers."""

    def __init__(
        self,
        directory: Path,
        database_url: str,
        redis_url: str,
        *,
        certificates: Certificates | None = None,
        alterations: Sequence[str] = (),
        **changes: Any,
    ) -> None:
        """`changes` replace or add settings; None takes one out. `alterations` make a mutant."""
        self.directory = directory
        self.port = free_port()
        self.context: ssl.SSLContext | None = None
        self.settings: dict[str, Any] = {
            "issuer": f"http://127.0.0.1:{self.port}",
            "mode": "development",
            "database_url": database_url,
            "redis_url": redis_url,
            "keys_dir": str(directory / "keys"),
            "port": self.port,
            "workers": 2,
            "threads": 4,
            "heartbeat_interval": 0.25,
            "hashing": CHEAP_HASHING,
            "clients": {"demo": {"audience": "api", "access_lifetime": 300}},
        }
        if certificates is not None:
            self.context = ssl.create_default_context(cafile=str(certificates.authority))
            self.settings["issuer"] = self.url
            self.settings["tls_certificate"] = str(certificates.certificate)
            self.settings["tls_key"] = str(certificates.key)
        self.write(**changes)
        self.process = WarmProcess(
            ["serve"],
            cwd=directory,
            env={"GATEPASS_CONFIG": SETTINGS_FILE},
            alterations=alterations,
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        # Stopping in order takes seconds, and has tests of its own.
        self.process.kill()

    @property
    def url(self) -> str:
        return f"{'http' if self.context is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def site(self) -> Site:
        return Site(self.url, "", self.context)

    def write(self, **changes: Any) -> None:
        """Change settings in the file; a running issuer goes on with the old ones."""
        self.settings |= changes
        given = {name: value for name, value in self.settings.items() if value is not None}
        (self.directory / SETTINGS_FILE).write_text(toml(given))

    def start(self) -> Self:
        """Start it and wait until every store answers through it."""
        self.process.start()
        ready = f"{self.url}/readyz"
        self.process.wait_for_url(ready, timeout=READY_SECONDS, context=self.context)
        return self

    def reload(self) -> None:
        """Ask it to read its settings again."""
        self.process.signal(signal.SIGHUP)

    def add_account(self) -> None:
        """Make the account of `login`; the schema must be there."""
        engine = open_engine(self.settings["database_url"])
        hasher = PasswordHasher(**CHEAP_HASHING)
        try:
            SqlAccounts(engine, hasher, PasswordPolicy(15), lambda: 0.0).add(USERNAME, PASSWORD)
        finally:
            engine.dispose()

    def login(self) -> Answer:
        """Log in, in body mode."""
        return self.site.login(USERNAME, PASSWORD)

    def started_workers(self) -> int:
        """How many workers it has started in its life."""
        return self.process.stderr().count("Booting worker with pid")
