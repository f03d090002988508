"""A real redis-server with the durability that design.md asks for."""

from __future__ import annotations

import contextlib
import shutil
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import redis
from harness.certificates import Certificates, make_certificates
from harness.processes import (
    Process,
    ProcessError,
    free_port,
    require_binary,
    short_directory,
    until,
)

START_ATTEMPTS = 3


class RedisServer:
    """One redis-server of the system, on a unix socket and, when asked, on loopback TCP or TLS.

    Every write is on disk before its answer (`appendfsync always`), so that what was
    acknowledged survives `kill`. The directory is kept from `start` to `start` and removed by
    `close`.
    """

    def __init__(
        self,
        *,
        tcp: bool = False,
        tls: bool = False,
        config: Mapping[str, str] | None = None,
        binary: str | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """Take the listeners wanted; `config` overrides or adds redis.conf directives.

        `binary` is another server of the kind than the system's redis-server; `prefix` begins its
        command line.
        """
        self.directory = short_directory("gp-redis-")
        self.socket = self.directory / "redis.sock"
        self.port: int | None = None
        self.tls_port: int | None = None
        self.certificates: Certificates | None = None
        if tls:
            self.certificates = make_certificates(self.directory)
        self._tcp = tcp
        self._config = dict(config or {})
        self._clients: list[redis.Redis] = []
        self._path = binary or require_binary("redis-server", "redis-server")
        self.process = Process([*prefix, self._path, str(self.directory / "redis.conf")])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- addresses ---------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The address to use by default: `rediss://` with TLS, `redis://` with TCP, else `unix://`."""
        if self.certificates is not None:
            return self.tls_url
        return self.tcp_url if self._tcp else self.unix_url

    @property
    def unix_url(self) -> str:
        """The address of its unix socket, which every server has."""
        return f"unix://{self.socket}?db=0"

    @property
    def tcp_url(self) -> str:
        """The address of its plain TCP port; ProcessError without `tcp=True`."""
        if self.port is None:
            raise ProcessError("no TCP port: RedisServer(tcp=True), started")
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def tls_url(self) -> str:
        """The address of its TLS port, naming the authority that signed its certificate."""
        if self.tls_port is None or self.certificates is None:
            raise ProcessError("no TLS port: RedisServer(tls=True), started")
        return f"rediss://127.0.0.1:{self.tls_port}/0?ssl_ca_certs={self.certificates.authority}"

    def tls_context(self) -> ssl.SSLContext:
        """A client context that trusts this server's authority alone."""
        assert self.certificates is not None
        return ssl.create_default_context(cafile=str(self.certificates.authority))

    def client(self, **options: Any) -> redis.Redis:
        """A client of `url`, closed when the server is; `options` go to redis-py."""
        made = redis.Redis.from_url(self.url, **{"socket_timeout": 30, **options})
        self._clients.append(made)
        return made

    # --- life --------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it on the data that its directory holds, and wait until it answers PING."""
        for attempt in range(1, START_ATTEMPTS + 1):
            if self._tcp and self.port is None:
                self.port = free_port()
            if self.certificates is not None and self.tls_port is None:
                self.tls_port = free_port()
            self._write_config()
            self.process.start()
            try:
                self.process.wait_until(self.answers, "an answer to PING")
            except ProcessError as error:
                self.process.kill()
                first = attempt < START_ATTEMPTS and "in use" in str(error)
                if not first:
                    raise
                self.port = self.tls_port = None  # another program was quicker
            else:
                return self
        raise AssertionError("unreachable")

    def follow(self, port: int) -> None:
        """Become a replica of the primary there, and wait until it is in step."""
        self.client().replicaof("127.0.0.1", str(port))
        self.wait_in_step()

    def wait_in_step(self) -> None:
        """Wait until it has, as a replica, all that its primary has."""
        client = self.client()
        for _ in until(30, "the replica to be in step"):
            if client.info("replication").get("master_link_status") == "up":
                return

    def answers(self) -> bool:
        """Whether it answers PING now: not while it is down, loading or paused."""
        probe = redis.Redis.from_url(self.unix_url, socket_timeout=1, socket_connect_timeout=1)
        with contextlib.closing(probe):
            try:
                return bool(probe.ping())
            except redis.RedisError:
                return False

    def stop(self) -> int | None:
        """Stop it in order (SIGTERM) and return its exit code."""
        return self.process.stop()

    def kill(self) -> None:
        """End it with SIGKILL: nothing gets flushed, nothing gets said to clients."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers."""
        self.process.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self.process.resume()

    def restart(self) -> Self:
        """Stop it in order if it runs, then start it again on the same data and ports."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stop it, close the clients that it gave out, and remove its directory."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def reset(self) -> None:
        """Make it as good as new for the next test: running, no data, no cached scripts."""
        if self.process.running:
            self.process.resume()
        if not self.answers():
            self.process.kill() if self.process.running else None
            self.start()
        with contextlib.closing(redis.Redis.from_url(self.unix_url, socket_timeout=30)) as client:
            client.flushall()
            client.script_flush()

    # --- configuration -----------------------------------------------------------------------

    def _write_config(self) -> None:
        lines: dict[str, str] = {
            "bind": "127.0.0.1",
            "port": str(self.port or 0),
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            # Replicas need not wait for each other before they are sent the data.
            "repl-diskless-sync-delay": "0",
        }
        if self.certificates is not None:
            lines |= {
                "tls-port": str(self.tls_port),
                "tls-cert-file": str(self.certificates.certificate),
                "tls-key-file": str(self.certificates.key),
                "tls-ca-cert-file": str(self.certificates.authority),
                "tls-auth-clients": "no",
            }
        lines |= self._config
        path = Path(self.directory, "redis.conf")
        path.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
