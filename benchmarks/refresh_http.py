"""Refresh through HTTP: `gatepass serve` beside flask-jwt-extended, both under gunicorn."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from .lab import Lab
from .material import Signer, private_pem, public_pem, random_id
from .peer_server import PeerConfig
from .servers import (
    HOST,
    BenchmarkError,
    answers_http,
    environment,
    free_port,
    own_command,
    running,
)
from .timing import MICROSECONDS, Row, Timing, rows

REFRESH_HTTP = "refresh-http"

WORKERS = 2
THREADS = 8
CLIENTS = 2
"""Processes that ask."""
CONNECTIONS = 4
"""For each of them."""
LIMIT = 50_000
"""Requests of one client in one round, whatever the time."""
_PEER = "flask-jwt-extended"
_CLIENT = "bench"
_NEVER = "100000000 per minute"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server with logged-in sessions."""

    name: str
    port: int
    style: str
    """Where the refresh token goes: `body`, or `bearer` for the Authorization header."""
    tokens: Sequence[str]


def refresh_http(lab: Lab) -> Iterator[Row]:
    """Whole requests, so many a second, with as many sessions as the scale says.

    `reuse_interval` is 0, so that each request rotates, as each of the peer's does.
    """
    algorithms = lab.scale.http_algorithms
    with ExitStack() as stack:
        ours = [stack.enter_context(gatepass(lab, alg)) for alg in algorithms]
        peers = [stack.enter_context(peer(lab, alg)) for alg in ("HS256", *algorithms)]
        timings = _measure(lab, [*ours, *peers])
    for alg, server in zip(algorithms, ours, strict=True):
        beside = [timings[f"{_PEER}, {name}"] for name in ("HS256", alg)]
        yield from rows(
            REFRESH_HTTP, f"refresh through HTTP, {alg}", [timings[server.name], *beside],
            as_rate=True,
        )  # fmt: skip


# --- The servers ---------------------------------------------------------------------------------


@contextmanager
def gatepass(lab: Lab, alg: str) -> Iterator[Server]:
    """`gatepass serve` on SQLite and our Redis, with accounts and sessions of its own."""
    lab.say(f"starting gatepass serve, {alg}")
    directory = lab.directory / f"gatepass-{alg}"
    directory.mkdir()
    port = free_port()
    settings = {
        "ISSUER": f"http://{HOST}:{port}",
        "MODE": "development",
        "DATABASE_URL": f"sqlite:///{directory / 'issuer.db'}",
        "REDIS_URL": lab.redis.url,
        "NAMESPACE": f"bench-{alg}",
        "KEYS_DIR": str(directory / "keys"),
        "ALGORITHMS": json.dumps([alg]),
        "CLIENTS": json.dumps({_CLIENT: {"audience": "api", "scopes": ["read", "write"]}}),
        "REUSE_INTERVAL": "0",
        "WORKERS": str(WORKERS),
        "THREADS": str(THREADS),
        "PORT": str(port),
        # Counted like any other, but never full: one address asks for everybody.
        "LIMITS": json.dumps({"refreshes_session": _NEVER, "requests": _NEVER, "sessions": 0}),
        # Passwords are hashed before the measuring begins only; cheap keeps that short.
        "HASHING": json.dumps({"time_cost": 1, "memory_cost": 8}),
    }
    env = {f"GATEPASS_{name}": value for name, value in settings.items()}
    command = own_command("gatepass")
    ready = answers_http(port, "/readyz")
    with running([command, "serve"], ready, directory=directory, env=env):
        tokens: list[str] = []
        for number in range(lab.scale.accounts):
            username, password = f"bench-{number}@example.org", random_id()
            _add_account(command, username, password, directory, env)
            body = {
                "username": username,
                "password": password,
                "client_id": _CLIENT,
                "transport": "body",
            }
            tokens += _log_in(port, "/login", body, lab.scale.sessions)
        yield Server(f"gatepass serve, {alg}", port, "body", tokens)


def _add_account(
    command: str, username: str, password: str, directory: Path, env: Mapping[str, str]
) -> None:
    done = subprocess.run(
        [command, "users", "add", username, "--password-stdin"],
        check=False,
        input=password + "\n",
        capture_output=True,
        text=True,
        cwd=directory,
        env=environment(env),
        timeout=60,
    )
    if done.returncode:
        raise BenchmarkError(f"gatepass users add: {done.stderr.strip()}")


@contextmanager
def peer(lab: Lab, alg: str) -> Iterator[Server]:
    """flask-jwt-extended on the same Redis, under the same server."""
    lab.say(f"starting {_PEER}, {alg}")
    directory = lab.directory / f"peer-{alg}"
    directory.mkdir()
    port = free_port()
    keys: dict[str, str] = {"secret": secrets.token_urlsafe(32)}
    if alg != "HS256":
        signer = Signer.new(alg)
        keys = {
            "private_key": private_pem(signer.private).decode(),
            "public_key": public_pem(signer.public).decode(),
        }
    config = directory / "peer.json"
    PeerConfig(
        port=port,
        workers=WORKERS,
        threads=THREADS,
        algorithm=alg,
        redis_socket=str(lab.redis.path),
        **keys,
    ).write(config)
    argv = [sys.executable, "-m", "benchmarks.peer_server", str(config)]
    with running(argv, answers_http(port, "/healthz"), directory=directory):
        tokens: list[str] = []
        for number in range(lab.scale.accounts):
            tokens += _log_in(port, f"/login/bench-{number}", {}, lab.scale.sessions)
        yield Server(f"{_PEER}, {alg}", port, "bearer", tokens)


def _log_in(port: int, path: str, body: Mapping[str, str], times: int) -> list[str]:
    tokens = []
    with closing(HTTPConnection(HOST, port, timeout=30)) as connection:
        for _ in range(times):
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise BenchmarkError(f"{path} answers {answer.status}: {content.decode()}")
            tokens.append(json.loads(content)["refresh_token"])
    return tokens


# --- The measuring -------------------------------------------------------------------------------


def _measure(lab: Lab, servers: Sequence[Server]) -> dict[str, Timing]:
    """Microseconds for each request, all connections together, by the server's name."""
    scale = lab.scale
    spent: dict[str, list[float]] = {server.name: [] for server in servers}
    with ExitStack() as stack:
        clients = [stack.enter_context(_client(servers, number)) for number in range(CLIENTS)]
        for number in range(scale.http_rounds + 1):
            for server in servers:
                rate = _round(clients, server.name, scale.http_seconds)
                if number:  # the first one warms up
                    spent[server.name].append(MICROSECONDS / rate)
            lab.say(f"refresh through HTTP, round {number} of {scale.http_rounds}")
    return {name: Timing(name, tuple(times)) for name, times in spent.items()}


def _round(clients: Sequence[subprocess.Popen[str]], target: str, seconds: float) -> float:
    """Requests a second of all clients together."""
    order = json.dumps({"target": target, "seconds": seconds, "limit": LIMIT})
    for client in clients:
        assert client.stdin is not None
        client.stdin.write(order + "\n")
        client.stdin.flush()
    rate = 0.0
    for client in clients:
        assert client.stdout is not None
        line = client.stdout.readline()
        if not line:
            raise BenchmarkError(f"the load on {target} failed; see above")
        result = json.loads(line)
        rate += result["requests"] / result["seconds"]
    return rate


@contextmanager
def _client(servers: Sequence[Server], number: int) -> Iterator[subprocess.Popen[str]]:
    """A client process with its share of every server's sessions; it ends with its input."""
    targets: dict[str, dict[str, Any]] = {
        server.name: {
            "port": server.port,
            "style": server.style,
            "connections": CONNECTIONS,
            "tokens": server.tokens[number::CLIENTS],
        }
        for server in servers
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load"],
        env=environment(),
        cwd=os.sep,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(targets) + "\n")
        process.stdin.flush()
        yield process
    finally:
        with process:
            process.terminate()
