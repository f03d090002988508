"""A real PostgreSQL cluster in a temporary directory."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

import psycopg
from harness.processes import (
    Process,
    ProcessError,
    free_port,
    require_binary,
    short_directory,
    until,
)
from psycopg import sql

SUPERUSER = "gatepass"
START_ATTEMPTS = 20
PACKAGE = "postgresql"


class PostgresServer:
    """One PostgreSQL server of the system, on a unix socket and a loopback port.

    PostgreSQL refuses to run as root, so root hands it to the package's user. `fsync=False`
    spares the disk: what was committed survives `kill` all the same (the kernel holds it), and
    only a crash of the machine would lose it.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        """Create the cluster (initdb, about a second); `start` then runs it."""
        self.directory = short_directory("gp-pg-")
        self.data = self.directory / "data"
        self.port = free_port()
        self.password = secrets.token_urlsafe(16)
        self._user = server_user()
        self._fsync = fsync
        try:
            self._initdb()
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        self.process = self._process()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- addresses ---------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of its maintenance database; tests use `create_database`."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """The SQLAlchemy URL of a database over loopback TCP, password included."""
        return f"postgresql+psycopg://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A psycopg connection in autocommit, for what databases cannot do in a transaction."""
        url = self.url_of(database).replace("+psycopg", "")
        return psycopg.connect(url, autocommit=True, connect_timeout=5)

    def create_database(self, template: str = "template1", place: Path | None = None) -> str:
        """Copy `template` (which nobody may be connected to) and return the copy's URL.

        `place` is a directory of the server's that holds it, but for the write-ahead log.
        """
        name = f"test_{secrets.token_hex(8)}"
        command = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with self.connect() as connection:
            connection.execute(command.format(sql.Identifier(name), sql.Identifier(template)))
            if place is not None:
                space = sql.Identifier(f"place_{secrets.token_hex(4)}")
                make = sql.SQL("CREATE TABLESPACE {} LOCATION {}")
                connection.execute(make.format(space, str(place)))
                move = sql.SQL("ALTER DATABASE {} SET TABLESPACE {}")
                connection.execute(move.format(sql.Identifier(name), space))
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Drop a database that `create_database` made, ending whoever is connected to it."""
        name = url.rpartition("/")[2]
        command = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        with self.connect() as connection:
            connection.execute(command.format(sql.Identifier(name)))

    # --- life --------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it on the data that its directory holds, and wait until it takes connections."""
        for attempt in range(1, START_ATTEMPTS + 1):
            self.process.start()
            try:
                self.process.wait_until(self.answers, "a connection")
            except ProcessError as error:
                self.process.kill()
                if attempt == START_ATTEMPTS or not self._may_retry(str(error)):
                    raise
            else:
                break
        return self

    def answers(self) -> bool:
        """Whether it takes connections now."""
        try:
            with self.connect():
                return True
        except psycopg.OperationalError:
            return False

    def stop(self) -> int | None:
        """Stop it in order, ending open connections (a fast shutdown), and return its exit code."""
        return self.process.stop(timeout=30)

    def kill(self) -> None:
        """End it with SIGKILL; its backends end by themselves when they see it gone."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze the postmaster (SIGSTOP): no new connection gets an answer."""
        self.process.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self.process.resume()

    def restart(self) -> Self:
        """Stop it in order if it runs, then start it again on the same data and port."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stop it and remove its directory."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _may_retry(self, message: str) -> bool:
        """Wait for the backends of a killed server; move from a port that another one took."""
        if "could not bind" in message:
            self.port = free_port()
            self.process = self._process()
            return True
        leftovers = ("pre-existing shared memory", "lock file")
        if any(mark in message for mark in leftovers):
            for tick, _ in enumerate(until(5, "the old backends' end", pause=0.1)):
                if tick:
                    return True
        return False

    # --- set-up ------------------------------------------------------------------------------

    def _initdb(self) -> None:
        secret = self.directory / "password"
        secret.write_text(self.password)
        if self._user is not None:
            for path in (self.directory, secret):
                shutil.chown(path, self._user, self._user)
        argv = [_binary("initdb"), "-D", str(self.data), "-U", SUPERUSER, "-E", "UTF8"]
        argv += ["--locale=C.UTF-8", "--no-sync", "--auth=scram-sha-256", f"--pwfile={secret}"]
        done = subprocess.run(
            argv,
            check=False,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
        )
        secret.unlink()
        if done.returncode:
            raise ProcessError(f"initdb failed\n{done.stdout}")

    def _process(self) -> Process:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            "fsync": "on" if self._fsync else "off",
            "shared_buffers": "32MB",
            "max_connections": "200",
            "logging_collector": "off",
            "autovacuum": "on",
        }
        argv = [_binary("postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        # SIGINT is the fast shutdown; SIGQUIT, if we die, ends the backends with the postmaster.
        return Process(
            argv,
            cwd=self.directory,
            user=self._user,
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGQUIT,
        )


def _binary(name: str) -> str:
    """A server program: Debian keeps them off PATH, in a directory for each version."""
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.is_dir()]
    newest = sorted(versions, key=lambda path: _number(path.parent.name), reverse=True)
    return require_binary(name, PACKAGE, [str(path) for path in newest])


def _number(version: str) -> float:
    try:
        return float(version)
    except ValueError:
        return 0.0


def server_user() -> str | None:
    """Who runs the server: us, unless we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise RuntimeError(f"no user to run PostgreSQL as: apt-get install -y {PACKAGE}")
