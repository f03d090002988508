"""A soak: steady load on a real deployment while, again and again, one of its servers breaks.

A program and a harness: `python tests/support/harness/soak.py --minutes 60` runs it for an hour
with one fault a minute and prints the table of docs/durability.md; `--on sentinel` and
`--on cluster` those of the failovers.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle, pairwise
from pathlib import Path

if __name__ == "__main__":
    # In place of this directory, whose modules are not those that others mean by their names.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from harness.issuer_process import READY_SECONDS, IssuerFleet
from harness.postgres_server import PostgresServer, server_user
from harness.processes import monotonic
from harness.race_history import UNDECIDED, Event, Figures, Violation
from harness.race_load import Race
from harness.redis_cluster import RedisCluster
from harness.redis_sentinel import RedisSentinel
from harness.redis_server import RedisServer
from harness.small_disk import SmallDisk
from harness.soak_faults import (
    ClusterFaults,
    Fault,
    IssuerFaults,
    RedisFaults,
    SentinelFaults,
    SqlFaults,
)

from gateway import Verifier
from revocation import ReplicaStale, RevocationError, TokenRevoked
from tokens import Expired, TokenError

MAX_STALENESS = 5.0
"""Seconds: the guarantee that every check at a gateway is held against."""
GATEWAYS = 2
LOOK = 0.25
SAMPLE = 4
RECOVERY = 60.0
EXPIRED = -1
DISK = 128
"""Megabytes, of each store's."""
DENYLIST = "gatepass:{denylist}"
"""A key of the slot in which all of it lies."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The Redis of a deployment, and what can be done to it."""

    url: str
    faults: list[Fault]


@contextmanager
def one_redis() -> Iterator[Stores]:
    """One server."""
    with (
        SmallDisk(DISK) as disk,
        RedisServer(tcp=True, config={"dir": str(disk.path)}) as store,
    ):
        yield Stores(store.tcp_url, RedisFaults(store, disk).all())


@contextmanager
def sentinel() -> Iterator[Stores]:
    """A master, its replica and a sentinel."""
    with RedisSentinel() as pair:
        yield Stores(pair.url, SentinelFaults(pair).all())


@contextmanager
def cluster() -> Iterator[Stores]:
    """Three masters, each with a replica."""
    with RedisCluster(replicas=True) as nodes:
        yield Stores(nodes.url, ClusterFaults(nodes, DENYLIST).all())


STORES: dict[str, Callable[[], AbstractContextManager[Stores]]] = {
    "redis": one_redis,
    "sentinel": sentinel,
    "cluster": cluster,
}


@dataclass(slots=True)
class Struck:
    """One fault as it happened, by the load's clock."""

    fault: Fault
    begun: float
    over: float


@dataclass(slots=True)
class Soak:
    """The load, the faults, and what came of them."""

    people: int = 4
    devices: int = 3
    pace: float = 0.25
    period: float = 4.0
    """Seconds after which everybody wants another password."""
    on: str = "redis"
    """Which of `STORES`; where it is not one Redis, nothing else breaks."""
    alterations: Sequence[str] = ()
    """Deliberate faults in the issuers themselves, see `altered_issuer`."""
    only: str = ""
    """Strike only with faults whose name has this in it."""
    struck: list[Struck] = field(default_factory=list)
    closed: list[tuple[float, float]] = field(default_factory=list)
    """Spans in which a gateway answered 503."""

    def run(self, directory: Path, seconds: float, every: float) -> Report:
        """Strike once in each `every` seconds, for `seconds`, then let everything settle."""
        with ExitStack() as stack:
            sql = stack.enter_context(PostgresServer())
            disk = stack.enter_context(SmallDisk(DISK, owner=server_user()))
            stores = stack.enter_context(STORES[self.on]())
            fleet = stack.enter_context(
                IssuerFleet(
                    sql.create_database(place=disk.path),
                    stores.url,
                    directory,
                    alterations=self.alterations,
                    apart=True,
                    settings={"GATEPASS_REUSE_INTERVAL": "0.05"},
                )
            )
            race = stack.enter_context(
                Race(
                    fleet,
                    people=self.people,
                    devices=self.devices,
                    seconds=seconds + RECOVERY,
                    period=self.period,
                    pace=self.pace,
                )
            )
            gateways = [
                Verifier(
                    issuer=fleet.url,
                    audience="api",
                    denylist=stores.url,
                    max_staleness=MAX_STALENESS,
                )
                for _ in range(GATEWAYS)
            ]
            for gateway in gateways:
                stack.enter_context(gateway)
                assert gateway.replica.wait_in_step(READY_SECONDS)
            over = threading.Event()
            lookers = [
                threading.Thread(target=self._look, args=(race, gateway, over))
                for gateway in gateways
            ]
            for looker in lookers:
                looker.start()
            begun = monotonic()
            try:
                faults = stores.faults
                if self.on == "redis":
                    faults = [*faults, *IssuerFaults(fleet).all(), *SqlFaults(sql, disk).all()]
                struck = [fault for fault in faults if self.only in fault.name]
                self._strike(race, struck, begun + seconds, every)
            finally:
                race.finish()
                over.set()
                for looker in lookers:
                    looker.join()
            violations, figures = race.settle(gateways[0])
            return Report(self, monotonic() - begun, race.events, violations, figures)

    def _strike(self, race: Race, faults: Sequence[Fault], until: float, every: float) -> None:
        for number, fault in enumerate(cycle(faults)):
            due = race.started + (number + 0.5) * every
            if due + every / 2 > until:
                break
            time.sleep(max(0.0, due - monotonic()))
            begun = monotonic()
            if fault.loses:
                # What it takes is known only once it is over; until then all may be gone.
                race.losses.append((begun, float("inf")))
            fault.strike()
            if fault.loses:
                race.losses[-1] = (begun, monotonic())
            self.struck.append(Struck(fault, begun, monotonic()))
        time.sleep(max(0.0, until - monotonic()))

    def _look(self, race: Race, gateway: Verifier, over: threading.Event) -> None:
        """Hold recent tokens against a gateway, which must know what is older than its bound."""
        chance = random.Random(0)
        shut: float | None = None
        while not over.wait(LOOK):
            for person in race.passwords:
                recent = race.recent(person)
                for grant in chance.sample(recent, min(SAMPLE, len(recent))):
                    begun = monotonic()
                    status = ask(gateway, grant.access)
                    if status == EXPIRED:
                        continue
                    if status == 503:
                        shut = shut or begun
                        continue
                    if shut is not None:
                        self.closed.append((shut, begun))
                        shut = None
                    race.events.append(
                        Event(
                            person=person,
                            op="gateway",
                            start=begun - MAX_STALENESS if status == 200 else begun,
                            end=monotonic(),
                            status=status,
                            sid=grant.sid,
                            ver=grant.ver,
                            jti=grant.jti,
                        )
                    )


def ask(gateway: Verifier, token: str) -> int:
    """The status that a gateway answers with, `EXPIRED` for a token that is over by itself."""
    try:
        gateway.verify(token)
    except TokenRevoked:
        return 401
    except ReplicaStale:
        return 503
    except Expired:
        return EXPIRED
    except (RevocationError, TokenError):
        return 500
    return 200


@dataclass(slots=True)
class Report:
    """What a soak has shown."""

    soak: Soak
    seconds: float
    events: list[Event]
    violations: list[Violation]
    figures: Figures

    def errors(self, begun: float, over: float) -> Counter[str]:
        """Answers that decided nothing, by kind, to requests that ended between two moments."""
        return Counter(
            "503" if event.status == 503 else "no answer"
            for event in self.events
            if event.client >= 0 and event.status in UNDECIDED and begun <= event.end < over
        )

    def outage(self, begun: float, over: float) -> float:
        """The longest time between two moments in which nobody's request was answered for good."""
        answered = sorted(
            event.end
            for event in self.events
            if event.client >= 0 and event.status not in UNDECIDED and begun <= event.end < over
        )
        edges = [begun, *answered, over]
        return max(late - early for early, late in pairwise(edges))

    def shut(self, begun: float, over: float) -> float:
        """The longest time for which a gateway answered 503."""
        spans = [
            min(late, over) - max(early, begun)
            for early, late in self.soak.closed
            if early < over and late > begun
        ]
        return max(spans, default=0.0)

    def windows(self) -> dict[str, list[tuple[float, float]]]:
        """The spans in which each kind of fault was under way, and what came of it came."""
        struck = self.soak.struck
        last = max(event.end for event in self.events if event.client >= 0)
        ends = [one.begun for one in struck[1:]] + [last]
        windows: dict[str, list[tuple[float, float]]] = {}
        for one, end in zip(struck, ends, strict=True):
            # Up to the next fault or 20 s: whatever comes of it comes by then.
            windows.setdefault(one.fault.name, []).append((one.begun, min(end, one.over + 20)))
        return windows

    def violations_in(self, spans: Sequence[tuple[float, float]]) -> int:
        """Violations that were seen within one of the spans."""
        return sum(
            violation.at is not None and any(begun <= violation.at < over for begun, over in spans)
            for violation in self.violations
        )

    def table(self) -> str:
        """Markdown: one line for each kind of fault, and one for all.

        Violations that were seen under no fault have a line of their own, where there are any.
        """
        lines = [
            "| Fault | Times | Requests meanwhile | 503 | No answer | Longest outage |"
            " Gateway closed for | Violations |",
            "|---|---|---|---|---|---|---|---|",
        ]
        windows = self.windows()
        for name, spans in windows.items():
            lines.append(self._line(name, spans))
        anywhere = [span for spans in windows.values() for span in spans]
        if elsewhere := len(self.violations) - self.violations_in(anywhere):
            lines.append(f"| no fault under way | | | | | | | {elsewhere} |")
        begun, over = min(event.end for event in self.events), monotonic()
        requests = sum(event.client >= 0 for event in self.events)
        errors = self.errors(begun, over)
        lines.append(
            f"| **all** | {len(self.soak.struck)} | {requests} | {errors['503']} |"
            f" {errors['no answer']} | {max(self.outage(*span) for span in anywhere):.1f} s |"
            f" {self.shut(begun, over):.1f} s | {len(self.violations)} |"
        )
        return "\n".join(lines)

    def _line(self, name: str, spans: list[tuple[float, float]]) -> str:
        errors: Counter[str] = Counter()
        for span in spans:
            errors += self.errors(*span)
        requests = sum(
            event.client >= 0 and any(begun <= event.end < over for begun, over in spans)
            for event in self.events
        )
        outage = max(self.outage(*span) for span in spans)
        shut = max(self.shut(*span) for span in spans)
        return (
            f"| {name} | {len(spans)} | {requests} | {errors['503']} | {errors['no answer']} |"
            f" {outage:.1f} s | {shut:.1f} s | {self.violations_in(spans)} |"
        )

    def __str__(self) -> str:
        checks = sum(event.op == "gateway" for event in self.events)
        return (
            f"{self.seconds / 60:.0f} minutes, {len(self.soak.struck)} faults,"
            f" {checks} checks at {GATEWAYS} gateways; {self.figures};"
            f" {self.figures.lost} sessions lost with the data\n\n{self.table()}"
        )


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--every", type=float, default=60.0, help="seconds from fault to fault")
    parser.add_argument("--on", choices=STORES, default="redis", help="how Redis is set up (redis)")
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        soak = Soak(on=options.on, only=options.only)
        report = soak.run(Path(directory) / "fleet", options.minutes * 60, options.every)
    print(report)
    for violation in report.violations[:50]:
        print(violation)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
