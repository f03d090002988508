"""How long from the answer that acknowledges a revocation to the first refusal at each verifier.

`python -m benchmarks.revocation_latency` starts a real issuer, Redis and eight verifiers of each
kind in turn, and prints one table, and one of what went on meanwhile: five hundred other entries a
second reach the denylist, each in a call and a feed item of its own, and every verifier goes on
verifying, tokens that it knows and new ones. It fails where a verdict is none that a revocation
explains, or the pace was not kept. The servers are those of the tests, so that what is measured is
what was tested.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from harness.issuer_process import AUDIENCE, IssuerFleet, IssuerProcess
from harness.native_gateways import guarded
from harness.processes import Process, free_port, monotonic, require_binary
from harness.redis_server import RedisServer
from harness.watching_gateway import Said, WatchingGateway

from keys import DirectoryStore

from .processor_time import ProcessorTime
from .report import environment
from .revocation_traffic import OtherRevocations, valid_tokens
from .servers import BenchmarkError

VERIFIERS = 8
PASSWORD = "eleven wooden comets 5518"
NEW_PASSWORD = "a patient marble orchard 73"
PAUSE = 0.005
"""Seconds between two rounds of questions: how exactly a refusal is seen."""
ROUND = 0.4
"""Seconds from one measured revocation to the next, at least: logins are work, too."""
LIVE_SECONDS = 3600
AHEAD = 40
"""Tokens that a verifier has before it, at least, when a round begins: two seconds' worth."""


@dataclass
class Figures:
    """Milliseconds from the answer to each first refusal; below zero where that came first."""

    kind: str
    way: str
    samples: list[float] = field(default_factory=list)

    def line(self) -> str:
        """A row of the table."""
        at_least_two = self.samples * 2 if len(self.samples) == 1 else self.samples
        hundredths = quantiles(at_least_two, n=100, method="inclusive")
        return (
            f"| {self.kind} | {self.way} | {len(self.samples)} | {hundredths[49]:.1f} |"
            f" {hundredths[98]:.1f} | {max(self.samples):.1f} |"
        )


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What went on while verifiers of a kind were measured."""

    kind: str
    others: float
    """Other revocations a second."""
    requests: float
    """Questions to each verifier, a second."""
    new: float
    """Those of them with a token that it had not seen."""
    busy: float
    """The share of all processors' time that was work, whoever's."""
    programs: Mapping[str, float]
    """How much of one processor each sort of program took."""

    def line(self) -> str:
        """A row of the second table."""
        return (
            f"| {self.kind} | {self.others:.0f}/s | {self.requests:.0f}/s | {self.new:.0f}/s |"
            f" {self.busy:.0%} | {', '.join(f'{k} {v:.0%}' for k, v in self.programs.items())} |"
        )


HEADER = """| Verifiers | Revoked by | Refusals | p50, ms | p99, ms | Maximum, ms |
|---|---|---|---|---|---|"""
MEANWHILE = """| Verifiers | Others | Requests | New tokens | All CPUs busy | Of one CPU |
|---|---|---|---|---|---|"""
"""Other revocations, requests to each verifier and those with new tokens are a second's."""


@dataclass
class World:
    """One issuer, its Redis, and people."""

    fleet: IssuerFleet
    store: RedisServer
    directory: Path
    others: OtherRevocations
    verifiers: int

    @cached_property
    def token(self) -> Callable[[], str]:
        """Makes a token that no revocation concerns."""
        ring = DirectoryStore(self.fleet.directory / "keys", None, development=True).load()
        return valid_tokens(self.fleet.url, AUDIENCE, ring.active("ES256"), LIVE_SECONDS)

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
                pause=PAUSE,
            )
        )
        for number in range(world.verifiers)
    ]


def verifiers_on_http(world: World, stack: ExitStack) -> list[WatchingGateway]:
    """Each follows the issuer's HTTP feed."""
    return [
        stack.enter_context(
            WatchingGateway(
                world.directory / f"http-{number}",
                issuer=world.fleet.url,
                denylist=world.fleet.feed_url(),
                pause=PAUSE,
            )
        )
        for number in range(world.verifiers)
    ]


def behind(kind: str) -> Callable[[World, ExitStack], list[WatchingGateway]]:
    """Gateways that check by themselves, each with its agent and one worker, asked over HTTP."""

    def start(world: World, stack: ExitStack) -> list[WatchingGateway]:
        port = stack.enter_context(answering_server(world.directory / kind))
        found = []
        for number in range(world.verifiers):
            say(f"{kind}: starting gateway {number + 1} of {world.verifiers}")
            place = world.directory / f"{kind}-{number}"
            gateway, _ = stack.enter_context(
                guarded(kind, place, world.fleet.url, world.store.tcp_url, port, threads=1)
            )
            watching = WatchingGateway(place / "watching", port=gateway.port, pause=PAUSE)
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
        "global\n    nbthread 1\ndefaults\n    mode http\n    timeout client 60s\n"
        f"frontend all\n    bind 127.0.0.1:{port}\n    http-request return status 200\n"
    )
    with Process([require_binary("haproxy", "haproxy", ["/usr/sbin"]), "-f", str(config)]):
        yield port


@dataclass(frozen=True, slots=True)
class Kind:
    """How verifiers of a kind are started, and what they say of a revoked token."""

    start: Callable[[World, ExitStack], Sequence[WatchingGateway]]
    refusal: str


KINDS = {
    "Redis feed": Kind(verifiers_on_redis, "revoked"),
    "HTTP feed": Kind(verifiers_on_http, "revoked"),
    "HAProxy agent": Kind(behind("haproxy"), "401"),
    "Envoy agent": Kind(behind("envoy"), "401"),
}


def measure(world: World, kind: str, rounds: int) -> Iterator[Figures | Meanwhile]:
    """Revoke one session after the other in each way, and see when each verifier refuses.

    Last comes what went on meanwhile. Raises `BenchmarkError`.
    """
    with ExitStack() as stack:
        gateways = KINDS[kind].start(world, stack)
        traffic = Traffic(gateways, world.token, world.others)
        pace = Pace(ROUND)
        for way, revoke in WAYS.items():
            figures = Figures(kind, way)
            for number in range(rounds):
                say(f"{kind}, {way}: {number + 1} of {rounds}")
                pace.waits()
                traffic.goes_on()
                figures.samples += one_round(world, traffic, KINDS[kind].refusal, revoke)
            yield figures
        yield traffic.ended(kind)


def one_round(
    world: World,
    traffic: Traffic,
    refusal: str,
    revoke: Callable[[IssuerProcess, dict[str, Any]], None],
) -> list[float]:
    """Milliseconds for each verifier. Raises `BenchmarkError`."""
    session = world.log_in()
    token = session["access_token"]
    for gateway in traffic.gateways:
        gateway.watch(token)
    for gateway in traffic.gateways:
        gateway.waits_until(token, "accepted")
    revoke(world.issuer, session)
    acknowledged = monotonic()
    found = []
    for gateway in traffic.gateways:
        gateway.waits_until(token, refusal)
        said = gateway.said(token)
        found.append((moment_of(refusal, said) - acknowledged) * 1000)
        traffic.asked += sum(said.counts.values())
        gateway.forget(token)
    return found


def moment_of(refusal: str, said: Said) -> float:
    """When a token was first refused: by this verdict, and by no other before or since.

    Raises `BenchmarkError`: an answer of 503, say, would pass for a quick refusal.
    """
    if not {"accepted"} <= set(said.counts) <= {"accepted", refusal}:
        raise BenchmarkError(f"a revoked token got {said.counts}")
    moment: float = said.first_refused
    if said.now != refusal or said.last_accepted > moment:
        raise BenchmarkError("a token was accepted after it had been refused")
    return moment


class Pace:
    """Lets a step begin no sooner than so many seconds after the one before."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    def waits(self) -> None:
        """Wait for the turn."""
        time.sleep(max(0.0, self._next - monotonic()))
        self._next = monotonic() + self._seconds


class Traffic:
    """What verifiers are asked beside: a token that lives on and new ones, in turn."""

    def __init__(
        self,
        gateways: Sequence[WatchingGateway],
        token: Callable[[], str],
        others: OtherRevocations,
    ) -> None:
        self.gateways = gateways
        self._token = token
        self._others = others
        self.asked = 0
        """Questions about tokens that are gone."""
        self._live = token()
        for gateway in gateways:
            # Whatever it says until it has keys does not count.
            gateway.watch(self._live)
            gateway.waits_until(self._live, "accepted")
            gateway.forget(self._live)
        self.goes_on()
        others.begin()
        self._begun, self._processors = monotonic(), ProcessorTime.so_far()
        self._before = self._met()

    def goes_on(self) -> None:
        """Hand every verifier more tokens where it is about to run out of them."""
        for gateway in self.gateways:
            if gateway.meet([]).waiting < AHEAD:
                new = (self._token() for _ in range(AHEAD // 2))
                gateway.meet([token for each in new for token in (self._live, each)])

    def ended(self, kind: str) -> Meanwhile:
        """What has gone on since the start. Raises `BenchmarkError` where a live token did not."""
        seconds = monotonic() - self._begun
        now = ProcessorTime.so_far()
        busy = now.share_since(self._processors)
        programs = now.programs_since(self._processors, seconds)
        achieved = self._others.achieved()
        met = self._met() - self._before
        each = seconds * len(self.gateways)
        return Meanwhile(kind, achieved, (met + self.asked) / each, met / 2 / each, busy, programs)

    def _met(self) -> int:
        """How many of the tokens beside all verifiers together have accepted."""
        found = [gateway.meet([]).counts for gateway in self.gateways]
        if any(set(counts) - {"accepted"} for counts in found):
            raise BenchmarkError(f"tokens that nobody has revoked got {found}")
        return sum(counts.get("accepted", 0) for counts in found)


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
    parser.add_argument(
        "--verifiers", type=int, default=VERIFIERS, help=f"of each kind ({VERIFIERS})"
    )
    options = parser.parse_args(arguments)
    on = environment(quick=False, fsync="always")
    print(
        f"{on['date']}; {on['cpus']} CPUs ({on['cpu']}), load {on['load']} before;"
        f" {options.verifiers} of each kind, {options.rounds} revocations of each sort.\n"
    )
    print(HEADER)
    try:
        meanwhile = list(measure_all(options))
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print("\n".join(["", MEANWHILE, *(each.line() for each in meanwhile)]))
    return 0


def measure_all(options: argparse.Namespace) -> Iterator[Meanwhile]:
    """Print the table's rows as they come. Raises `BenchmarkError`."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gp-bench-")))
        store = stack.enter_context(RedisServer(tcp=True))
        fleet = IssuerFleet(
            f"sqlite:///{directory}/issuer.db", store.unix_url, directory / "fleet", size=1
        )
        stack.enter_context(fleet)
        others = stack.enter_context(OtherRevocations(store.unix_url, options.rate))
        world = World(fleet, store, directory, others, options.verifiers)
        for kind in options.only or KINDS:
            for found in measure(world, kind, options.rounds):
                if isinstance(found, Meanwhile):
                    yield found
                else:
                    print(found.line(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
