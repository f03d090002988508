"""`gatepass gateway` beside a bare ASGI application on the same server, one process each."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from keys import KeyRing
from revocation import open_denylist
from tokens import sign

from .lab import Lab
from .material import AUDIENCE, Signer, claims
from .servers import (
    HOST,
    ROOT,
    BenchmarkError,
    answers_http,
    environment,
    free_port,
    own_command,
    running,
)
from .timing import MICROSECONDS, Row, Timing, rows

FORWARD_AUTH = "forward-auth"

CONNECTIONS = 16
_BEAT = 0.5
_REPEATED = 64
"""Tokens that come again and again."""


def forward_auth(lab: Lab) -> Iterator[Row]:
    """So many a second, with tokens that were seen before and with tokens that never were."""
    signer = Signer.new("ES256")
    fresh = lab.scale.fast * 10
    with ExitStack() as stack:
        issuer = stack.enter_context(_keys_served(signer))
        stack.enter_context(_beating(lab))
        bare, service = free_port(), free_port()
        argv = [sys.executable, "-m", "benchmarks.bare_asgi", str(bare)]
        directory = lab.directory / "bare"
        directory.mkdir()
        stack.enter_context(running(argv, answers_http(bare, "/"), directory=directory))
        directory = lab.directory / "forward-auth"
        directory.mkdir()
        options = ["--issuer", issuer, "--audience", AUDIENCE, "--denylist", lab.redis.url]
        options += ["--port", str(service), "--max-staleness", "60"]
        ready = answers_http(service, "/readyz")
        command = [own_command("gatepass"), "gateway", *options]
        stack.enter_context(running(command, ready, directory=directory))
        lab.say(f"signing {fresh:,} tokens")
        tokens = [_token(signer, issuer) for _ in range(fresh)]
        targets = {
            "repeated": _target(service, tokens[:_REPEATED]),
            "fresh": _target(service, tokens),
            "bare ASGI": _target(bare, tokens[:_REPEATED]),
        }
        timings = _measure(lab, targets)
    for name in ("repeated", "fresh"):
        case = f"forward-auth, {name} tokens"
        yield from rows(FORWARD_AUTH, case, [timings[name], timings["bare ASGI"]], as_rate=True)


def _token(signer: Signer, issuer: str) -> str:
    return sign(replace(claims(), iss=issuer), signer.key)


def _target(port: int, tokens: Sequence[str]) -> dict[str, Any]:
    return {"port": port, "connections": CONNECTIONS, "tokens": list(tokens)}


@contextmanager
def _keys_served(signer: Signer) -> Iterator[str]:
    """An issuer's address, with metadata and keys behind it."""
    jwks = KeyRing((signer.key,)).jwks()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(
                jwks
                if self.path.endswith("jwks.json")
                else {"issuer": url, "jwks_uri": f"{url}/.well-known/jwks.json"}
            ).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
            """Say nothing."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    url = f"http://{HOST}:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _beating(lab: Lab) -> Iterator[None]:
    """A denylist whose heart beats."""
    stopping = threading.Event()
    with closing(open_denylist(lab.redis.url)) as denylist:
        denylist.initialise(0)
        denylist.mark_ready()

        def beat() -> None:
            while not stopping.wait(_BEAT):
                denylist.heartbeat(0)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()


def _measure(lab: Lab, targets: dict[str, dict[str, Any]]) -> dict[str, Timing]:
    """Microseconds for each request, all connections together, by the target's name."""
    spent: dict[str, list[float]] = {name: [] for name in targets}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.asking"],
        env=environment(),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            _tell(process, targets)
            for number in range(lab.scale.http_rounds + 1):
                for name, times in spent.items():
                    _tell(process, {"target": name, "seconds": lab.scale.http_seconds})
                    assert process.stdout is not None
                    line = process.stdout.readline()
                    if not line:
                        raise BenchmarkError(f"the load on {name} failed; see above")
                    result = json.loads(line)
                    if number:  # the first one warms up
                        times.append(result["seconds"] / result["requests"] * MICROSECONDS)
                lab.say(f"forward-auth, round {number} of {lab.scale.http_rounds}")
        finally:
            process.terminate()
    return {name: Timing(name, tuple(times)) for name, times in spent.items()}


def _tell(process: subprocess.Popen[str], order: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
