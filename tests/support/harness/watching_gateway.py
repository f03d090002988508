"""A gateway in a process of its own, which holds tokens against itself without a pause.

A harness and, run as a program, the gateway: its verifier is the real one, or a proxy that it asks
over HTTP. What it was asked to watch it verifies again and again; it remembers when each was last
accepted and first refused, by the clock that every process of the machine shares.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.altered_issuer import read_shift, write_shift
from harness.processes import Process, monotonic, until
from harness.status_client import StatusClient

if TYPE_CHECKING:
    from gateway import Verifier
    from revocation import Follower

ROUND = 0.002
"""Seconds between two rounds of questions."""
MEETING = 0.05
"""Seconds between two of the tokens that it verifies once."""
SWEEP_INTERVAL = 30.0
LOOK = 0.01
"""Seconds between two looks at a clock that the test moves."""


class WatchingGateway:
    """Started on entering; `options` are the verifier's own, as JSON can hold them."""

    def __init__(
        self,
        directory: Path,
        *,
        issuer: str = "",
        denylist: str = "",
        port: int = 0,
        options: Mapping[str, Any] | None = None,
        documents: Mapping[str, Any] | None = None,
        prefix: Sequence[str] = (),
        mutant: str = "",
        clock: Path | None = None,
        pause: float = ROUND,
    ) -> None:
        """`port` is that of a proxy, on loopback; it takes the verifier's place.

        `documents` are what the verifier gets by URL, where it cannot reach the issuer; `prefix`
        begins its command line; `mutant` is one of `MUTANTS`. Its time is moved on by what the
        file `clock` holds, which is that of the issuers if they are to agree; `pause` is
        that between two rounds.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._clock = clock or directory / "clock"
        self._address = str(directory / "gw.sock")
        orders = directory / "orders.json"
        if clock is None:
            write_shift(self._clock, 0.0)
        verifier = {"issuer": issuer, "audience": "api", "denylist": denylist, **(options or {})}
        orders.write_text(
            json.dumps(
                {
                    "verifier": verifier,
                    "port": port,
                    "documents": documents,
                    "clock": str(self._clock),
                    "moves": clock is not None,
                    "address": self._address,
                    "mutant": mutant,
                    "pause": pause,
                }
            )
        )
        self.process = Process([*prefix, sys.executable, __file__, str(orders)])

    def __enter__(self) -> Self:
        self.process.start()
        self.process.wait_for_line("listening", timeout=60)
        self._line: Connection = Client(self._address)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._line.close()
        self.process.kill()

    def _ask(self, *question: Any) -> Any:
        self._line.send(question)
        return self._line.recv()

    def watch(self, token: str) -> None:
        """Verify this token again and again from now on."""
        self._ask("watch", token)

    def verify(self, token: str) -> str:
        """What it makes of a token, once."""
        return str(self._ask("verify", token))

    def verify_watched(self) -> dict[str, str]:
        """What it makes of each watched token, once more."""
        return dict(self._ask("verify watched"))

    def forget(self, token: str) -> Said:
        """Verify it no more; what it has made of it."""
        return Said(**self._ask("forget", token))

    def said(self, token: str) -> Said:
        """What it has made of a watched token."""
        return Said(**self._ask("said", token))

    def meet(self, tokens: Sequence[str]) -> Met:
        """Let it verify each of these once, beside; what it has made of earlier ones."""
        return Met(**self._ask("meet", "", tokens))

    def waits_until(self, token: str, verdict: str, timeout: float = 30.0) -> None:
        """Wait until it says this of a watched token."""
        try:
            for _ in until(timeout, f"{verdict!r} of a gateway"):
                if self.said(token).now == verdict:
                    return
        except TimeoutError as error:
            raise TimeoutError(
                f"{error}: {self.said(token).counts}\n{self.process.describe()}"
            ) from None

    def step_clock(self, seconds: float) -> None:
        """Put its wall clock off by this much."""
        write_shift(self._clock, seconds)


class Said:
    """Verdicts on one token: `accepted` or a refusal's code; times by the monotonic clock."""

    def __init__(
        self, now: str, last_accepted: float, first_refused: float, counts: dict[str, int]
    ) -> None:
        self.now = now
        self.last_accepted = last_accepted
        """When the last check that accepted it began; 0 for never."""
        self.first_refused = first_refused
        """When the first check that refused it ended; 0 for never."""
        self.counts = counts


@dataclass(frozen=True, slots=True)
class Met:
    """Verdicts on tokens that were verified once, and how many wait for that."""

    counts: dict[str, int]
    waiting: int


# --- the program -------------------------------------------------------------------------------


def _trusts_its_socket(self: Follower, _items: object) -> None:
    self._vouch(self._clock())


def _never_looks_at_its_age(self: Follower, _items: object) -> None:
    self._vouch(self._clock() + 1e6)


def _sweeps_by_its_wall_clock(self: Follower) -> None:
    now = self._wall_clock()
    if now >= self._next_sweep:
        self._sink.sweep(now)
        # Else what it has let go would be refused with the rest of that time.
        self._sink.table.swept = 0
        self._next_sweep = now + SWEEP_INTERVAL


MUTANTS: dict[str, tuple[str, Callable[..., None]]] = {
    "trusts-its-socket": ("_note_heartbeats", _trusts_its_socket),
    "never-stale": ("_note_heartbeats", _never_looks_at_its_age),
    "sweeps-by-its-wall-clock": ("_sweep", _sweeps_by_its_wall_clock),
}
"""Followers that any answer, or one heartbeat for ever, makes fresh; one that forgets too soon."""


class _Alarm(threading.Event):
    """Waits by a clock that the test moves."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        end = self._clock() + (float("inf") if timeout is None else timeout)
        while self._clock() < end and not super().wait(LOOK):
            pass
        return self.is_set()


class _Program:
    def __init__(self, orders: Mapping[str, Any]) -> None:
        clock = Path(orders["clock"])
        real = time.time
        # Before anything of ours takes it for its default clock.
        assert not {"gateway", "revocation", "tokens"} & set(sys.modules)
        time.time = lambda: real() + read_shift(clock)
        if orders["mutant"]:
            from revocation import Follower

            setattr(Follower, *MUTANTS[orders["mutant"]])
        self._verifier = None if orders["port"] else _verifier(orders)
        self._proxy = StatusClient(orders["port"])
        self._address = orders["address"]
        self._pause = orders["pause"]
        self._tokens: dict[str, dict[str, Any]] = {}
        self._strangers: deque[str] = deque()
        self._met: dict[str, int] = {}
        self._next_meeting = 0.0

    def run(self) -> None:
        with self._verifier or nullcontext(), Listener(self._address) as listener:
            threading.Thread(target=self._watch, daemon=True).start()
            print("listening", flush=True)
            with listener.accept() as line:
                while True:
                    line.send(self._answer(*line.recv()))

    def _answer(self, what: str, token: str = "", strangers: Sequence[str] = ()) -> Any:
        if what == "verify":
            return self._verdict(token)
        if what == "meet":
            self._strangers.extend(strangers)
            return {"counts": self._met, "waiting": len(self._strangers)}
        if what == "verify watched":
            return {each: self._verdict(each) for each in list(self._tokens)}
        if what == "forget":
            return self._tokens.pop(token)
        if what == "watch":
            self._tokens[token] = {
                "now": "",
                "last_accepted": 0.0,
                "first_refused": 0.0,
                "counts": {},
            }
            return None
        return self._tokens[token]

    def _watch(self) -> None:
        while True:
            for token, said in list(self._tokens.items()):
                begun = monotonic()
                verdict = self._verdict(token)
                if verdict == "accepted":
                    said["last_accepted"] = begun
                elif not said["first_refused"]:
                    said["first_refused"] = monotonic()
                said["now"] = verdict
                said["counts"][verdict] = said["counts"].get(verdict, 0) + 1
            if self._strangers and monotonic() >= self._next_meeting:
                self._next_meeting = monotonic() + MEETING
                verdict = self._verdict(self._strangers.popleft())
                self._met[verdict] = self._met.get(verdict, 0) + 1
            time.sleep(self._pause)

    def _verdict(self, token: str) -> str:
        if self._verifier is None:
            return self._verdict_of_proxy(token)
        try:
            self._verifier.verify(token)
        except Exception as error:
            return str(getattr(error, "code", repr(error)))
        return "accepted"

    def _verdict_of_proxy(self, token: str) -> str:
        try:
            status = self._proxy.ask(token)
        except (OSError, ValueError) as error:
            return type(error).__name__
        return "accepted" if status == 200 else str(status)


def _verifier(orders: Mapping[str, Any]) -> Verifier:
    from gateway import Verifier
    from gateway.fetching import Fetched

    documents = orders["documents"]
    options = dict(orders["verifier"])
    if documents is not None:
        options["fetch"] = lambda url: Fetched(documents[url], 3600)
    verifier = Verifier(**options)
    if orders["moves"]:
        # Its keys grow old with the time that the test moves, and the thread that fetches them goes
        # by it; its replica lives in the real one, in which the issuers' heartbeats come.
        clock = Path(orders["clock"])
        verifier.keys.clock = lambda: monotonic() + read_shift(clock)
        verifier.keys._wake = _Alarm(verifier.keys.clock)
    return verifier


if __name__ == "__main__":
    with suppress(EOFError):
        _Program(json.loads(Path(sys.argv[1]).read_text())).run()
