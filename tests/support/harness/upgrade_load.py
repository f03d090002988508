"""People who use two issuers of different releases by turns, and note whatever is wrong.

Each round begins a session at one issuer, refreshes it at both by turns, ends it or revokes
something at either, and looks whether both issuers and both gateways agree.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, product
from typing import Any

from harness import web
from harness.issuer_process import (
    AUDIENCE,
    CLIENT_ID,
    HEARTBEAT_INTERVAL,
    IssuerFleet,
    IssuerProcess,
    introspection_headers,
)
from harness.older_release import OlderGateway, OlderRelease
from harness.processes import until

from gateway import Verifier

FIRST_PASSWORD = "seven violet otters juggle 91"
ENDS = ("logout", "reuse", "revoke session", "revoke token", "password")
REVOKED = "revoked"
NOT_NOW = {"replica_stale"}
"""What a gateway says on a machine that is busy; neither yes nor no."""

Verdict = Callable[[str], str]


class Violated(Exception):
    """A round that cannot go on; what was wrong has been noted."""


@dataclass
class Findings:
    """What was asked, what came of it, and what may not have been."""

    patience: float = 10.0
    """Seconds until a revocation must have reached a gateway, on a machine however busy."""
    asked: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """By release, operation and status."""
    seen: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str) -> None:
        """Count a fact that was checked."""
        with self._lock:
            self.seen[what] += 1

    def violate(self, what: str) -> None:
        """Note what should not be."""
        with self._lock:
            self.violations.append(what)

    def count(self, release: str, operation: str, status: int) -> None:
        """Count an answer."""
        with self._lock:
            self.asked[release, operation, status] += 1

    def of(self, release: str, operation: str) -> int:
        """How many requests of a kind a release answered with success."""
        return self.asked[release, operation, 200]


class Site:
    """One issuer, its release's name, and the requests that a client makes."""

    def __init__(self, release: str, issuer: IssuerProcess, findings: Findings) -> None:
        self.release = release
        self.issuer = issuer
        self._findings = findings

    def __str__(self) -> str:
        return self.release

    def send(self, operation: str, path: str, body: Any = None, **options: Any) -> web.Answer:
        """One request; every answer of 5xx is a violation."""
        answer = web.ask("POST", self.issuer.url + path, json_body=body, **options)
        self._findings.count(self.release, operation, answer.status)
        if answer.status >= 500:
            self._findings.violate(f"{self}: {operation}: {answer.status} {answer.content!r}")
        return answer

    def granted(self, operation: str, path: str, body: Any = None, **options: Any) -> Any:
        """The answer of a request that must succeed. Raises `Violated`."""
        answer = self.send(operation, path, body, **options)
        if answer.status != 200:
            what = f"{self}: {operation}: {answer.status} {answer.content!r}"
            self._findings.violate(what)
            raise Violated(what)
        return answer.json if answer.content else {}

    def login(self, username: str, password: str) -> dict[str, Any]:
        body = {"username": username, "password": password, "transport": "body"}
        grant: dict[str, Any] = self.granted("login", "/login", body)
        return grant

    def refresh(self, grant: Mapping[str, Any]) -> dict[str, Any]:
        body = {"refresh_token": grant["refresh_token"]}
        fresh: dict[str, Any] = self.granted("refresh", "/refresh", body)
        return fresh

    def revoke(self, operation: str, token: str) -> None:
        self.granted(operation, "/revoke", form={"token": token, "client_id": CLIENT_ID})

    def is_active(self, token: str) -> bool:
        """What introspection says."""
        answer = self.granted(
            "introspect", "/introspect", form={"token": token}, headers=introspection_headers()
        )
        return bool(answer["active"])

    def jwks(self) -> set[str]:
        """The identifiers of the published keys."""
        answer = web.ask("GET", f"{self.issuer.url}/.well-known/jwks.json").granted()
        return {key["kid"] for key in answer["keys"]}

    def ready(self) -> bool:
        """What it tells a load balancer."""
        return web.ask("GET", f"{self.issuer.url}/readyz").status == 200


class Judge:
    """Asks everybody about tokens."""

    def __init__(self, gateways: dict[str, Verdict], findings: Findings) -> None:
        self.gateways = gateways
        self.findings = findings

    def accepted(self, token: str) -> None:
        """Both gateways take a token that was just issued."""
        for name, verdict in list(self.gateways.items()):
            found = self._settled(verdict, token, {"accepted"}, at_once=True)
            self._expect(f"gateway {name} accepts", found == "accepted", found)

    def revoked_at_gateways(self, token: str) -> None:
        """Both refuse it, within the feed's latency."""
        for name, verdict in list(self.gateways.items()):
            found = self._settled(verdict, token, {REVOKED})
            self._expect(f"gateway {name} refuses", found == REVOKED, found)

    def inactive(self, sites: Sequence[Site], token: str) -> None:
        """Every issuer says that it is worth nothing."""
        for site in sites:
            self._expect(f"{site} introspects as inactive", not site.is_active(token))

    def ended(self, sites: Sequence[Site], grant: Mapping[str, Any]) -> None:
        """A session is over, whoever is asked."""
        for site in sites:
            body = {"refresh_token": grant["refresh_token"]}
            status = site.send("refused refresh", "/refresh", body).status
            self._expect(f"{site} refuses to refresh", status == 400, status)
        self.inactive(sites, grant["access_token"])
        self.revoked_at_gateways(grant["access_token"])

    def _settled(
        self, verdict: Verdict, token: str, wanted: set[str], *, at_once: bool = False
    ) -> str:
        found = ""
        try:
            for _ in until(self.findings.patience, "a verdict"):
                found = verdict(token)
                if found in wanted or (at_once and found not in NOT_NOW):
                    break
        except TimeoutError:
            pass
        return found

    def _expect(self, what: str, fact: bool, found: object = "") -> None:
        if fact:
            self.findings.note(what)
        else:
            self.findings.violate(f"not so: {what} {found}")


@dataclass
class Person:
    """One person with an account of their own, and a session that is never ended."""

    name: str
    judge: Judge
    password: str = FIRST_PASSWORD
    kept: dict[str, Any] = field(default_factory=dict)
    keeper: str = ""
    """The account of the kept session; a password change would end it."""
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def keep(self, site: Site) -> None:
        """Begin the session that goes on through everything."""
        self.keeper = f"keeper-{self.name}"
        self.kept = site.login(self.keeper, FIRST_PASSWORD)

    def refresh_kept(self, site: Site) -> None:
        """It goes on at any issuer."""
        self.kept = site.refresh(self.kept)
        self.judge.findings.note(f"kept session at {site}")
        self.judge.accepted(self.kept["access_token"])

    def round(self, begin: Site, end: Site, how: str) -> dict[str, Any]:
        """One session from login to its end; returns what was ended. Raises `Violated`."""
        if self.judge.findings.violations:
            raise Violated("somebody has found enough already")
        sites = (begin, end) if begin is not end else (begin,)
        first = begin.login(self.name, self.password)
        grant = first
        for site in (end, begin, end):
            grant = site.refresh(grant)
            self.judge.accepted(grant["access_token"])
        getattr(self, f"_{how.replace(' ', '_')}")(end, sites, first, grant)
        self.judge.findings.note(f"{how}: {begin} then {end}")
        self.refresh_kept(begin)
        return grant

    def _logout(self, end: Site, sites: Sequence[Site], _first: Any, grant: Any) -> None:
        end.granted("logout", "/logout", {"refresh_token": grant["refresh_token"]})
        self.judge.ended(sites, grant)

    def _reuse(self, end: Site, sites: Sequence[Site], first: Any, grant: Any) -> None:
        body = {"refresh_token": first["refresh_token"]}
        end.send("reuse", "/refresh", body)
        self.judge.ended(sites, grant)

    def _revoke_session(self, end: Site, sites: Sequence[Site], _first: Any, grant: Any) -> None:
        end.revoke("revoke session", grant["refresh_token"])
        self.judge.ended(sites, grant)

    def _revoke_token(self, end: Site, sites: Sequence[Site], _first: Any, grant: Any) -> None:
        end.revoke("revoke token", grant["access_token"])
        self.judge.inactive(sites, grant["access_token"])
        self.judge.revoked_at_gateways(grant["access_token"])
        for site in sites:  # the session goes on
            grant = site.refresh(grant)
            self.judge.accepted(grant["access_token"])

    def _password(self, end: Site, sites: Sequence[Site], _first: Any, grant: Any) -> None:
        new = f"an unlikely brass kettle {next(self._numbers)}"
        body = {"current_password": self.password, "new_password": new, "transport": "body"}
        fresh = end.granted("password", "/password", body, token=grant["access_token"])
        old, self.password = self.password, new
        self.judge.ended(sites, grant)
        for site in sites:
            body = {"username": self.name, "password": old, "transport": "body"}
            status = site.send("old password", "/login", body).status
            self.judge._expect(f"{site} refuses the old password", status in {400, 401}, status)
            fresh = site.refresh(fresh)
        self.judge.accepted(fresh["access_token"])


def plan(old: Site, new: Site) -> list[tuple[Site, Site, str]]:
    """Every end, begun and brought about at either issuer."""
    pairs = [(new, old), (old, new), (new, new), (old, old)]
    return [(begin, end, how) for how, (begin, end) in product(ENDS, pairs)]


@contextmanager
def older_gateway(fleet: IssuerFleet, older: OlderRelease) -> Iterator[dict[str, Verdict]]:
    """A gateway of the older release, in step with the feed."""
    gateway = OlderGateway(
        older,
        issuer=fleet.url,
        audience=AUDIENCE,
        denylist=fleet.redis_url,
        heartbeat_interval=HEARTBEAT_INTERVAL,
    )
    with gateway:
        yield {"old": gateway.verdict}


@contextmanager
def newer_gateway(fleet: IssuerFleet) -> Iterator[dict[str, Verdict]]:
    """One of this release, which an issuer of this release must have vouched for first."""
    with fleet.verifier() as verifier:
        yield {"new": lambda token: verdict_of(verifier, token)}


def verdict_of(verifier: Verifier, token: str) -> str:
    """`accepted`, or the code of the refusal."""
    try:
        verifier.verify(token)
    except Exception as error:
        return getattr(error, "code", repr(error))
    return "accepted"
