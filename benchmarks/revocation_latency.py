"""How long from the answer that acknowledges a revocation to the first refusal at each verifier.

`python -m benchmarks.revocation_latency` starts a real issuer, Redis and eight verifiers of each
kind in turn, and prints one table. Meanwhile five hundred other entries a second reach the
denylist, each in a call and a feed item of its own, and every verifier goes on verifying. The
servers are those of the tests, so that what is measured is what was tested.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from harness.issuer_process import IssuerFleet, IssuerProcess
from harness.native_gateways import guarded
from harness.processes import Process, free_port, monotonic, require_binary, until
from harness.redis_server import RedisServer
from harness.watching_gateway import WatchingGateway

from revocation import Entry, open_denylist

VERIFIERS = 8
PASSWORD = "eleven wooden comets 5518"
NEW_PASSWORD = "a patient marble orchard 73"
LIFETIME = 300
PROXY_PAUSE = 0.005
"""Seconds between two questions to a proxy: how exactly its refusal is seen."""


@dataclass
class Figures:
    """Milliseconds from the answer to each first refusal; below zero where that came first."""

    kind: str
    way: str
    samples: list[float] = field(default_factory=list)

    def line(self) -> str:
        """A row of the table."""
        hundredths = quantiles(self.samples, n=100, method="inclusive")
        return (
            f"| {self.kind} | {self.way} | {len(self.samples)} | {hundredths[49]:.1f} |"
            f" {hundredths[98]:.1f} | {max(self.samples):.1f} |"
        )


HEADER = """| Verifiers | Revoked by | Refusals | p50, ms | p99, ms | Maximum, ms |
|---|---|---|---|---|---|"""


@dataclass
class World:
    """One issuer, its Redis, and people."""

    fleet: IssuerFleet
    store: RedisServer
    directory: Path

    @property
    def issuer(self) -> IssuerProcess:
        return self.fleet.issuers[0]

    def log_in(self) -> dict[str, Any]:
        """The tokens of somebody new."""
        username = secrets.token_hex(8)
        self.fleet.add_account(username, PASSWORD)
        return dict(self.issuer.login(username, PASSWORD).granted())


def by_logout(issuer: IssuerProcess, session: dict[str, Any]) -> None:
    issuer.ask("/logout", {"refresh_token": session["refresh_token"]}).granted()


def by_password(issuer: IssuerProcess, session: dict[str, Any]) -> None:
    issuer.change_password(session["access_token"], PASSWORD, NEW_PASSWORD).granted()


def by_revoke(issuer: IssuerProcess, session: dict[str, Any]) -> None:
    issuer.revoke(session["access_token"]).granted()


WAYS: dict[str, Callable[[IssuerProcess, dict[str, Any]], None]] = {
    "POST /password": by_password,
    "POST /logout": by_logout,
    "POST /revoke": by_revoke,
}


def verifiers_on_redis(world: World, stack: ExitStack) -> list[WatchingGateway]:
    """Each follows Redis by itself."""
    return [
        stack.enter_context(
            WatchingGateway(
                world.directory / f"redis-{number}",
                issuer=world.fleet.url,
                denylist=world.store.tcp_url,
            )
        )
        for number in range(VERIFIERS)
    ]


def verifiers_on_http(world: World, stack: ExitStack) -> list[WatchingGateway]:
    """Each follows the issuer's HTTP feed."""
    return [
        stack.enter_context(
            WatchingGateway(
                world.directory / f"http-{number}",
                issuer=world.fleet.url,
                denylist=world.fleet.feed_url(),
            )
        )
        for number in range(VERIFIERS)
    ]


def behind(kind: str) -> Callable[[World, ExitStack], list[WatchingGateway]]:
    """Eight gateways that check by themselves, each with its agent, asked over HTTP."""

    def start(world: World, stack: ExitStack) -> list[WatchingGateway]:
        port = stack.enter_context(answering_server(world.directory / kind))
        found = []
        for number in range(VERIFIERS):
            say(f"{kind}: starting gateway {number + 1} of {VERIFIERS}")
            place = world.directory / f"{kind}-{number}"
            gateway, _ = stack.enter_context(
                guarded(kind, place, world.fleet.url, world.store.tcp_url, port)
            )
            watching = WatchingGateway(place / "watching", port=gateway.port, pause=PROXY_PAUSE)
            found.append(stack.enter_context(watching))
        return found

    return start


@contextmanager
def answering_server(directory: Path) -> Iterator[int]:
    """What the gateways protect: it answers 200, and costs next to nothing. Its port."""
    directory.mkdir()
    port = free_port()
    config = directory / "haproxy.cfg"
    config.write_text(
        "defaults\n    mode http\n    timeout client 60s\n"
        f"frontend all\n    bind 127.0.0.1:{port}\n    http-request return status 200\n"
    )
    with Process([require_binary("haproxy", "haproxy", ["/usr/sbin"]), "-f", str(config)]):
        yield port


KINDS: dict[str, Callable[[World, ExitStack], Sequence[WatchingGateway]]] = {
    "Redis feed": verifiers_on_redis,
    "HTTP feed": verifiers_on_http,
    "HAProxy agent": behind("haproxy"),
    "Envoy agent": behind("envoy"),
}


def measure(world: World, kind: str, rounds: int) -> Iterator[Figures]:
    """Revoke one session after the other in each way, and see when each verifier refuses."""
    with ExitStack() as stack:
        gateways = KINDS[kind](world, stack)
        # What they verify beside: sessions that live on.
        for session in [world.log_in() for _ in range(2)]:
            for gateway in gateways:
                gateway.watch(session["access_token"])
                gateway.waits_until(session["access_token"], "accepted")
        for way, revoke in WAYS.items():
            figures = Figures(kind, way)
            for number in range(rounds):
                say(f"{kind}, {way}: {number + 1} of {rounds}")
                figures.samples += one_round(world, gateways, revoke)
            yield figures


def one_round(
    world: World,
    gateways: Sequence[WatchingGateway],
    revoke: Callable[[IssuerProcess, dict[str, Any]], None],
) -> list[float]:
    """Milliseconds for each verifier."""
    session = world.log_in()
    token = session["access_token"]
    for gateway in gateways:
        gateway.watch(token)
    for gateway in gateways:
        gateway.waits_until(token, "accepted")
    revoke(world.issuer, session)
    acknowledged = monotonic()
    found = []
    for gateway in gateways:
        for _ in until(30, "a refusal"):
            refused = gateway.said(token).first_refused
            if refused:
                break
        found.append((refused - acknowledged) * 1000)
        gateway.forget(token)
    return found


@contextmanager
def other_revocations(url: str, rate: int) -> Iterator[None]:
    """So many entries a second from a process of its own."""
    process = multiprocessing.get_context("spawn").Process(
        target=_revoke_others, args=(url, rate, os.getpid()), daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _revoke_others(url: str, rate: int, parent: int) -> None:
    denylist = open_denylist(url)
    begun, done = time.monotonic(), 0
    while os.getppid() == parent:
        due = int((time.monotonic() - begun) * rate)
        for _ in range(due - done):
            expires = int(time.time()) + LIFETIME
            denylist.add([Entry.session(secrets.token_urlsafe(16), expires)])
        done = due
        time.sleep(0.001)


def say(text: str) -> None:
    """Tell the progress on standard error, over the line before where that is a terminal."""
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"benchmarks: {text}", file=sys.stderr, end=end, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.revocation_latency", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=50, help="revocations of each sort (50)")
    parser.add_argument("--rate", type=int, default=500, help="other revocations a second (500)")
    parser.add_argument(
        "--only", action="append", choices=KINDS, help="these verifiers alone; may be repeated"
    )
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gp-bench-")))
        store = stack.enter_context(RedisServer(tcp=True))
        fleet = IssuerFleet(
            f"sqlite:///{directory}/issuer.db", store.unix_url, directory / "fleet", size=1
        )
        world = World(stack.enter_context(fleet), store, directory)
        stack.enter_context(other_revocations(store.unix_url, options.rate))
        print(HEADER)
        for kind in options.only or KINDS:
            for figures in measure(world, kind, options.rounds):
                print(figures.line(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
