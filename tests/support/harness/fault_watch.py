"""Watches gateways and issuers through a store fault: nothing revoked may be taken, ever.

From the fault on every revoked token is held against every gateway, and against every issuer in
turn, again and again, while the deployment recovers by itself. "Not now" (503) is a right answer.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from itertools import cycle
from typing import Self

from harness.fault_scenario import MAX_STALENESS, PAST_EVERYTHING, Revoked, Scenario, Session
from harness.issuer_process import Answer, IssuerProcess
from harness.processes import monotonic, until

from gateway import Verifier
from gateway.errors import KeysUnavailable
from issuer.database import DatabaseUnavailable
from revocation import RevocationError, TokenRevoked
from tokens import TokenError

PAUSE = 0.06
RECOVERY = 30.0
"""Seconds within which everything works again by itself, on a slow machine."""
WINDOWS = 3
NO_ANSWER = Answer(0, {})


class CameBack(AssertionError):
    """Something that had been revoked was taken, or a caller was not told properly."""


def verdict(gateway: Verifier, token: str) -> str:
    """What a gateway says: taken, refused (and why), or not now."""
    try:
        gateway.verify(token)
    except TokenRevoked as revoked:
        return f"revoked by {revoked.kind}"
    except TokenError as error:
        return f"refused: {error.code}"
    except (RevocationError, KeysUnavailable):
        return "not now"
    return "taken"


def ask(question: Callable[[str], Answer], token: str) -> Answer:
    """An answer about a token, or none where the issuer is down."""
    try:
        return question(token)
    except (OSError, http.client.HTTPException):
        return NO_ANSWER


class Watch:
    """Polls from a thread for each side, from entering to leaving."""

    def __init__(self, scenario: Scenario, gateways: Sequence[str] = ("",)) -> None:
        """`gateways`: the Redis of each that lives through the fault; '' for the fleet's own."""
        self.scenario = scenario
        self.gateways: dict[str, Verifier] = {}
        self.violations: list[str] = []
        self.checks = 0
        self._first = gateways
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for number, url in enumerate(self._first):
            gateway = self.add_gateway(f"gateway {number}", url)
            for one in (*self.scenario.revoked, *self.scenario.live):
                wanted = isinstance(one, Session)
                what = f"{one} at {number}"
                for _ in until(20, what):
                    said = verdict(gateway, one.access)
                    if said.startswith("taken" if wanted else "re"):
                        break
        for watch in (self._watch_gateways, self._watch_issuers):
            thread = threading.Thread(target=watch, daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._stack.close()

    def stop(self) -> None:
        """End the polling; the gateways stay."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def add_gateway(self, name: str, redis_url: str = "") -> Verifier:
        """One more gateway, which knows nothing yet."""
        gateway = self._stack.enter_context(self.scenario.gateway(redis_url))
        with self._lock:
            self.gateways[name] = gateway
        return gateway

    # --- polling -----------------------------------------------------------------------------

    def _watch_gateways(self) -> None:
        while not self._over.wait(PAUSE):
            with self._lock:
                gateways = list(self.gateways.items())
            for name, gateway in gateways:
                for one in list(self.scenario.revoked):
                    # What was revoked just now is refused within the gateway's own bound.
                    due = monotonic() > one.since + MAX_STALENESS
                    self.checks += 1
                    if verdict(gateway, one.access) == "taken" and due:
                        self.violations.append(f"{name} took what {one.way} had revoked")
                for session in list(self.scenario.live):
                    said = verdict(gateway, session.access)
                    if said.startswith("revoked"):
                        self.violations.append(f"{name}: {session.username} is live, but {said}")

    def _watch_issuers(self) -> None:
        issuers = cycle(self.scenario.fleet.issuers)
        number = 0
        while not self._over.wait(PAUSE):
            revoked = list(self.scenario.revoked)
            if revoked:
                number += 1
                self._check_at(next(issuers), revoked[number % len(revoked)])

    def _check_at(self, issuer: IssuerProcess, one: Revoked, *, final: bool = False) -> None:
        self.checks += 1
        where = f"issuer {issuer.port}"
        answer = ask(issuer.ask_introspection, one.access)
        self._check_status(where, one, answer, final=final)
        if answer.status == 200 and answer.body["active"]:
            self.violations.append(f"{where} calls active what {one.way} had revoked")
        if one.refresh is None:
            return
        answer = ask(issuer.refresh, one.refresh)
        self._check_status(where, one, answer, final=final)
        if answer.status == 200:
            self.violations.append(f"{where} refreshed what {one.way} had ended")
        elif answer.status == 400 and answer.body["error_description"] not in one.why:
            self.violations.append(f"{where}: {one.way} was told {answer.body}")

    def _check_status(self, where: str, one: Revoked, answer: Answer, *, final: bool) -> None:
        right = {200, 400} if final else {200, 400, 503, 0}
        if answer.status not in right:
            self.violations.append(f"{where}, {one.way}: {answer}")
        if answer.status == 503 and not answer.retry_after:
            self.violations.append(f"{where}, {one.way}: 503 without Retry-After")

    # --- what a test waits for and asserts -----------------------------------------------------

    def dwells(self) -> None:
        """Wait until every gateway must know all that is revoked, and was asked for all of it."""
        heard = max(one.since for one in self.scenario.revoked) + MAX_STALENESS
        for _ in until(RECOVERY, "the bound of the gateways"):
            if monotonic() > heard:
                break
        asked = self.checks + 2 * len(self.scenario.revoked) * len(self.gateways)
        for _ in until(RECOVERY, "all of it to be asked for"):
            if self.checks > asked:
                return

    def recovers(self, seconds: float = RECOVERY) -> None:
        """Wait until both issuers log people in and revoke, and every gateway takes and refuses."""
        for at, issuer in enumerate(self.scenario.fleet.issuers):
            session = self.patient_login("pilot", at, seconds)
            for name, gateway in list(self.gateways.items()):
                for _ in until(seconds, f"{name} to take tokens of {issuer.port} again"):
                    if verdict(gateway, session.access) == "taken":
                        break
            for _ in until(seconds, "a logout", pause=0.1):
                if self.scenario.end(session, at=at).status == 200:
                    break
            for name, gateway in list(self.gateways.items()):
                for _ in until(seconds, f"{name} to hear of a logout at {issuer.port}"):
                    if verdict(gateway, session.access).startswith("revoked"):
                        break

    def patient_login(self, way: str, at: int, seconds: float = RECOVERY) -> Session:
        """A login that is tried until it succeeds."""
        begun = monotonic()
        while True:
            try:
                return self.scenario.log_in(way, at=at)
            except (AssertionError, OSError, http.client.HTTPException, DatabaseUnavailable):
                if monotonic() - begun > seconds:
                    raise
                self._over.wait(0.1)

    def gateways_go_on(self) -> None:
        """For longer than a replica without heartbeats is believed, live tokens are taken.

        Where there are none, gateways close in every window; on a busy machine they do in some.
        """
        for _ in range(WINDOWS):
            said = self._said_meanwhile(2 * MAX_STALENESS)
            if not said:
                return
            assert all(each.endswith("not now") for each in said), said
        raise AssertionError(f"in each of {WINDOWS} windows: {said}")

    def _said_meanwhile(self, seconds: float) -> set[str]:
        """What gateways say to live tokens within so many seconds, other than that they pass."""
        others = set()
        over = monotonic() + seconds
        for _ in until(RECOVERY, "gateways to go on"):
            last = monotonic() > over
            for name, gateway in self.gateways.items():
                for session in self.scenario.live:
                    said = verdict(gateway, session.access)
                    if said != "taken":
                        others.add(f"{name}: {session.username}: {said}")
            if last:
                break
        return others

    def _settled(self, gateway: Verifier, token: str) -> str:
        """What a gateway says once it is in step, however busy the machine."""
        with suppress(TimeoutError):
            for _ in until(RECOVERY, "a verdict"):
                said = verdict(gateway, token)
                if said != "not now":
                    break
        return said

    def assert_nothing_came_back(self) -> None:
        """Every gateway and issuer, having recovered, refuses all that was revoked.

        Raises `CameBack` for that, and for anything that was seen while it recovered.
        """
        for name, gateway in self.gateways.items():
            for one in self.scenario.revoked:
                said = self._settled(gateway, one.access)
                if not said.startswith("re"):
                    self.violations.append(f"{name} says {said!r} to what {one.way} had revoked")
        for issuer in self.scenario.fleet.issuers:
            for one in self.scenario.revoked:
                self._check_at(issuer, one, final=True)
        if self.violations:
            some = sorted(set(self.violations))
            raise CameBack(f"{len(some)} kinds of violation\n" + "\n".join(some[:20]))
        assert self.checks > 2 * len(self.scenario.revoked)

    def assert_live_go_on(self) -> None:
        """Sessions of which nothing was lost refresh, and every gateway takes their tokens."""
        for at, session in enumerate(self.scenario.live):
            issuer = self.scenario.fleet.issuers[at % len(self.scenario.fleet.issuers)]
            self.scenario.take(session, issuer.refresh(session.refresh).granted())
            for name, gateway in self.gateways.items():
                said = self._settled(gateway, session.access)
                assert said == "taken", f"{name}: {session.username}: {said}"

    def let_everything_expire(self) -> None:
        """Move time past every access token and entry there is now, and look again."""
        self.scenario.fleet.advance(PAST_EVERYTHING)
        self.recovers()
        if self.scenario.thief is not None:
            # A thief's tokens never end by themselves.
            forged = self.scenario.forge(self.scenario.log_in("victim"))
            self.scenario.revoked.append(Revoked("revoke key", forged))
        self.assert_nothing_came_back()
        self.assert_live_go_on()

    def passes(self) -> None:
        """All of the above, in order: what most tests do after their fault."""
        self.recovers()
        self.assert_live_go_on()
        self.assert_nothing_came_back()
        self.let_everything_expire()
        print(f"{self.checks} checks, {len(self.violations)} violations")
