"""What is around a real gateway: issuer, forward-auth service and backend, and who asks it."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.echo_backend import EchoBackend, Seen
from harness.forward_auth import ForwardAuthService, Line, RealGateway
from harness.issuer_app import PASSWORD, USERNAME, migrated_sqlite
from harness.processes import short_directory
from harness.redis_server import RedisServer
from harness.served_issuer import ServedIssuer
from harness.web import Answer

MAX_STALENESS = 8.0
"""Seconds; more than a busy machine stands still for."""
FEED_SECRET = "a-secret-of-edge-1"


@dataclass(frozen=True)
class World:
    """Everything but the gateway."""

    redis: RedisServer
    issuer: ServedIssuer
    service: ForwardAuthService
    line: Line
    backend: EchoBackend
    directory: Path

    def login(self, client_id: str = "demo") -> dict[str, Any]:
        return self.issuer.site.login(USERNAME, PASSWORD, client_id=client_id).granted()

    def token(self, client_id: str = "demo") -> str:
        return str(self.login(client_id)["access_token"])


@contextmanager
def gateway_world() -> Iterator[World]:
    """An issuer with two clients, of which `demo` may write orders, and the service in step."""
    directory = short_directory("gp-real-")
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        issuer = ServedIssuer(
            directory,
            f"sqlite:///{migrated_sqlite(directory / 'issuer.db')}",
            redis.unix_url,
            clients={
                "demo": {"audience": "api", "scopes": ["read", "orders:write"]},
                "reader": {"audience": "api", "scopes": ["read"]},
            },
            gateways={"edge-1": {"secret_sha256": sha256(FEED_SECRET.encode()).hexdigest()}},
            workers=1,
        )
        issuer.add_account()
        stack.enter_context(issuer)
        service = ForwardAuthService(
            issuer.url,
            redis.unix_url,
            "--max-staleness",
            str(MAX_STALENESS),
            "--log-requests",
            "all",
        )
        stack.enter_context(service).wait_ready()
        line = stack.enter_context(Line(service.port))
        backend = stack.enter_context(EchoBackend())
        yield World(redis, issuer, service, line, backend, directory)
    shutil.rmtree(directory)


@contextmanager
def altered(
    world: World, docs: Path, name: str, pattern: str, replacement: str
) -> Iterator[RealGateway]:
    """A real gateway whose page says something else wherever it says `pattern`."""
    # What the last one has broken may not be what breaks this one.
    world.service.wait_ready()
    with RealGateway(
        name,
        docs,
        world.directory,
        service=world.line.port,
        backend=world.backend.port,
        change=lambda text: re.sub(pattern, replacement, text),
    ) as running:
        yield running


def passed(gateway: RealGateway, world: World, path: str, **options: Any) -> Seen:
    """What the backend was sent of a request that must pass, once."""
    before = len(world.backend.seen)
    answer = gateway.ask(path, **options)
    said = world.service.logged()[-5:] if answer.status != 200 else []
    assert answer.status == 200, (answer.status, answer.headers, answer.content, said)
    [seen] = world.backend.seen[before:]
    return seen


def refused(gateway: RealGateway, world: World, path: str, status: int, **options: Any) -> Answer:
    """The answer to a request that must not pass, nor reach the backend."""
    before = len(world.backend.seen)
    answer = gateway.ask(path, **options)
    assert answer.status == status, (answer.status, answer.headers, answer.content)
    assert world.backend.seen[before:] == []
    return answer


def raw(gateway: RealGateway, *lines: str, body: bytes = b"") -> bytes:
    """The whole answer to bytes that no client library would send; the connection is closed."""
    with closing(socket.create_connection(("127.0.0.1", gateway.port), timeout=30)) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received
