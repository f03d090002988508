"""Runs the devices of several people against a fleet, and a gateway beside them."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

from harness import race_client, secret_sources
from harness.issuer_process import IssuerFleet, introspection_headers, reaches
from harness.processes import monotonic
from harness.race_history import Event, Figures, Grant, Violation, check

from gateway import Verifier
from issuer.database import open_engine
from revocation import Denylist, ReplicaStale, TokenRevoked, open_denylist

PERIOD = 0.15
"""Seconds after which everybody wants another password; more where requests take long."""
ACCESS_LIFETIME = 300
OVER = 60
"""Seconds before its end from which a token is left alone."""
RECENT = 64
SAMPLE = 24
FINAL_SAMPLE = 40
FIRST_PASSWORD = "seven violet otters juggle {}"


def issued(grant: Grant) -> int:
    """When the access token was issued, seconds since the epoch."""
    payload = grant.access.split(".")[1]
    return int(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["iat"])


@dataclass
class Race:
    """Devices under way; the history grows as they write."""

    fleet: IssuerFleet
    people: int
    devices: int
    """Of each person, each a process."""
    seconds: float
    """After which devices stop, whatever they have done."""
    first_hash_memory: int = 8
    """KiB, of the hashes that accounts begin with."""
    seed: int = 0
    period: float = PERIOD
    pace: float = 0.0
    """Seconds, on average, that a device rests between two requests."""
    events: list[Event] = field(default_factory=list)
    passwords: dict[str, str] = field(default_factory=dict)
    started: float = 0.0
    stale: int = 0
    """Checks that the gateway declined because its replica was too old."""
    losses: list[tuple[float, float]] = field(default_factory=list)
    """From when to when faults that lose data went on."""
    rehashes: int = 0
    """Times that a stored hash was seen to change while the version did not."""
    _processes: list[subprocess.Popen[str]] = field(default_factory=list)
    _readers: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._random = random.Random(self.seed)
        self._recent: dict[str, deque[Grant]] = defaultdict(lambda: deque(maxlen=RECENT))
        self._news = threading.Event()
        self.started = monotonic()
        self._note_rehashes()
        number = count()
        for person in range(self.people):
            name = f"person-{person}"
            password = self.passwords[name] = FIRST_PASSWORD.format(person)
            self.fleet.add_account(name, password, memory_cost=self.first_hash_memory)
            board = self.fleet.directory / f"board-{name}"
            board.write_text(f"1 {monotonic()} {password}\n")
            for _ in range(self.devices):
                orders = {
                    "client": next(number),
                    "username": name,
                    "board": str(board),
                    "ports": [issuer.port for issuer in self.fleet.issuers],
                    "stop": str(self._stop_file),
                    "until": monotonic() + self.seconds,
                    "period": self.period,
                    "pace": self.pace,
                    "seed": self._random.random(),
                    "introspection": introspection_headers(),
                }
                self._start(orders)
        return self

    def _start(self, orders: Mapping[str, Any]) -> None:
        argv = [sys.executable, "-S", "-E", race_client.__file__, json.dumps(orders)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        reader = threading.Thread(target=self._read, args=(process,))
        reader.start()
        self._readers.append(reader)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            event = Event.read(json.loads(line))
            self.events.append(event)
            if event.got is not None:
                self._recent[event.person].append(event.got)
                secret_sources.made.add("access token", event.got.access)
                secret_sources.made.add("refresh token", event.got.refresh)
            if event.op in {"change", "logout", "end"}:
                self._news.set()

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        for reader in self._readers:
            reader.join()
        for process in self._processes:
            assert process.stdout is not None
            process.stdout.close()

    @property
    def running(self) -> bool:
        """Whether some device still has something to do."""
        return any(process.poll() is None for process in self._processes)

    @property
    def _stop_file(self) -> Path:
        return self.fleet.directory / "stop"

    def won(self) -> int:
        """How many password changes have been answered with 200 so far."""
        return sum(event.op == "change" and event.status == 200 for event in list(self.events))

    def ended(self) -> int:
        """How many requests that end a session have been answered with 200 so far."""
        return sum(bool(event.ends) and event.status == 200 for event in list(self.events))

    def answered(self) -> int:
        """How many requests of devices have been answered so far."""
        return sum(event.client >= 0 for event in list(self.events))

    def recent(self, person: str) -> list[Grant]:
        """The tokens that a person was given last."""
        return list(self._recent[person])

    def finish(self) -> None:
        """Have the devices stop, and wait until all that they did is written down."""
        self._stop_file.touch()
        for process in self._processes:
            process.wait()
        for reader in self._readers:
            reader.join()
        assert [process.returncode for process in self._processes] == [0] * len(self._processes)
        self.rehashes = self._count_rehashes()

    # --- the gateway -------------------------------------------------------------------------

    def watch(self, verifier: Verifier, enough: Callable[[], bool]) -> None:
        """Check tokens at a gateway, right after each revocation, until it is `enough`."""
        denylist = open_denylist(self.fleet.redis_url)
        try:
            while self.running:
                self._news.wait(0.1)
                self._news.clear()
                for name in self.passwords:
                    recent = list(self._recent[name])
                    sample = self._random.sample(recent, min(SAMPLE // self.people, len(recent)))
                    self.check_at_gateway(verifier, denylist, name, sample)
                if enough():
                    self._stop_file.touch()
        finally:
            denylist.close()
        self.finish()

    def check_at_gateway(
        self, verifier: Verifier, denylist: Denylist, person: str, grants: list[Grant]
    ) -> None:
        """Whether a gateway takes the tokens, once it is in step with what is acknowledged now."""
        known = monotonic()
        reaches(verifier.replica, denylist.state().position)
        for grant in grants:
            try:
                verifier.verify(grant.access)
                status = 200
            except TokenRevoked:
                status = 401
            except ReplicaStale:
                self.stale += 1
                continue
            self.events.append(
                Event(
                    person=person,
                    op="gateway",
                    start=known,
                    end=monotonic(),
                    status=status,
                    sid=grant.sid,
                    ver=grant.ver,
                    jti=grant.jti,
                )
            )

    def _note_rehashes(self) -> None:
        """Have the database itself note each: whoever looks now and then sees few of them."""
        engine = open_engine(self.fleet.database_url)
        note = "INSERT INTO rehashes VALUES (1)"
        trigger = (
            "CREATE TRIGGER note_rehash AFTER UPDATE ON accounts FOR EACH ROW WHEN ("
            "OLD.credential_version = NEW.credential_version"
            " AND OLD.password_hash <> NEW.password_hash) "
        )
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE rehashes (one INTEGER)")
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql(f"{trigger} BEGIN {note}; END")
            else:
                connection.exec_driver_sql(
                    "CREATE FUNCTION note_rehash() RETURNS trigger LANGUAGE plpgsql AS"
                    f" $$ BEGIN {note}; RETURN NEW; END $$"
                )
                connection.exec_driver_sql(f"{trigger} EXECUTE FUNCTION note_rehash()")
        engine.dispose()

    def _count_rehashes(self) -> int:
        engine = open_engine(self.fleet.database_url)
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT count(*) FROM rehashes").scalar_one()
        engine.dispose()
        return int(found)

    # --- the end -----------------------------------------------------------------------------

    def judge(self) -> tuple[list[Violation], Figures]:
        """Everything in the history that may not have happened, and its figures."""
        return check(self.events, self.passwords, self.losses, self._generation)

    def _generation(self, token: str) -> int:
        return self.fleet.opened(token).gen

    def settle(self, verifier: Verifier) -> tuple[list[Violation], Figures]:
        """Try everything once more, now that nothing is under way, and check the whole history."""
        violations = []
        denylist = open_denylist(self.fleet.redis_url)
        try:
            for name in self.passwords:
                violations += self._settle(verifier, denylist, name)
        finally:
            denylist.close()
        found, figures = self.judge()
        return violations + found, figures

    def _settle(self, verifier: Verifier, denylist: Denylist, name: str) -> list[Violation]:
        own = [event for event in self.events if event.person == name]
        # What a device was not told is found out by logging in with every password ever tried.
        tried = [self.passwords[name], *(event.new for event in own if event.new)]
        account = self.fleet.account(name)
        taken = [password for password in tried[-FINAL_SAMPLE:] if self._login(name, password)]
        highest = max(event.got.ver for event in self.events if event.person == name and event.got)
        violations = []
        if (account.credential_version, account.sub_ver) != (highest, highest):
            violations.append(Violation(f"{name} stands at {account}, its tokens at {highest}"))
        if len(taken) != 1:
            violations.append(Violation(f"{len(taken)} passwords of {name} are taken"))
        # A long race has tokens that are over by themselves, and no answer tells the difference.
        begun = time.time() - ACCESS_LIFETIME + OVER
        grants = [event.got for event in own if event.got and issued(event.got) > begun]
        self.check_at_gateway(verifier, denylist, name, grants)
        last = {grant.sid: grant for grant in grants}
        newest = sorted(last.values(), key=lambda grant: grant.ver)[-FINAL_SAMPLE:]
        for grant in newest:
            self._introspect(name, grant)
            self._refresh(name, grant)
        return violations

    def _login(self, name: str, password: str) -> bool:
        issuer = self._random.choice(self.fleet.issuers)
        start = monotonic()
        answer = issuer.login(name, password)
        got = race_client.granted(answer.body)
        self._final(name, "login", start, answer.status, got=got, password=password)
        return answer.status == 200

    def _introspect(self, name: str, grant: Grant) -> None:
        issuer = self._random.choice(self.fleet.issuers)
        start = monotonic()
        active = issuer.introspect(grant.access)
        self._final(
            name,
            "introspect",
            start,
            200,
            sid=grant.sid,
            ver=grant.ver,
            jti=grant.jti,
            active=active,
        )

    def _refresh(self, name: str, grant: Grant) -> None:
        issuer = self._random.choice(self.fleet.issuers)
        start = monotonic()
        answer = issuer.refresh(grant.refresh)
        got = race_client.granted(answer.body)
        presented = {"sid": grant.sid, "ver": grant.ver, "used": grant.refresh}
        self._final(name, "refresh", start, answer.status, got=got, **presented)

    def _final(
        self,
        name: str,
        operation: str,
        start: float,
        status: int,
        *,
        got: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self.events.append(
            Event(
                person=name,
                op=operation,
                start=start,
                end=monotonic(),
                status=status,
                got=Grant(**got) if got else None,
                **more,
            )
        )
