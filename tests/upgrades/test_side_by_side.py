"""An upgrade as it is done: the release before and this one side by side, and back again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness.issuer_process import IssuerFleet
from harness.older_release import VERSION, OlderRelease
from harness.redis_server import RedisServer
from harness.upgrade_load import (
    ENDS,
    FIRST_PASSWORD,
    Findings,
    Judge,
    Person,
    Site,
    Violated,
    newer_gateway,
    older_gateway,
    plan,
)

PEOPLE = 3
# Each refresh is a rotation.
SETTINGS = {"GATEPASS_REUSE_INTERVAL": "0", "GATEPASS_WORKERS": "1"}


@pytest.fixture
def start(
    postgres_url: str, private_redis: RedisServer, tmp_path: Path, older: OlderRelease
) -> Callable[..., Any]:
    """Starts issuers of the older release, with one of this release left to be started."""

    @contextmanager
    def started(olds: int, **new_settings: str) -> Iterator[IssuerFleet]:
        with IssuerFleet(
            postgres_url,
            private_redis.unix_url,
            tmp_path / "fleet",
            size=olds + 1,
            waiting=1,
            settings=SETTINGS,
            issuer_settings=[*[older.environment] * olds, new_settings],
        ) as fleet:
            yield fleet

    return started


def gatepass(fleet: IssuerFleet, index: int, *arguments: str, stdin: str = "") -> str:
    """What a command says, run as the issuer of this index would run."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "gatepass"), *arguments],
        env=fleet.issuers[index].process.env,
        cwd=fleet.directory,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def people_of(fleet: IssuerFleet, judge: Judge, site: Site) -> list[Person]:
    """People with accounts and a session each that is to outlive everything."""
    people = [Person(f"person-{number}", judge) for number in range(PEOPLE)]
    for person in people:
        for name in (person.name, f"keeper-{person.name}"):
            # As the older release would: the tables are its own still.
            given = f"{FIRST_PASSWORD}\n"
            gatepass(fleet, 0, "users", "add", name, "--password-stdin", stdin=given)
        person.keep(site)
    return people


def busy(person: Person, first: Site, second: Site, joined: threading.Event) -> int:
    """Rounds on the old issuers until the new one has joined, one of them at least."""
    rounds = 0
    while True:
        begin, end = (first, second) if rounds % 2 else (second, first)
        person.round(begin, end, ENDS[rounds % len(ENDS)])
        rounds += 1
        if joined.is_set():
            return rounds


def side_by_side(person: Person, olds: list[Site], new: Site) -> int:
    """The whole plan, on one old issuer and the new one."""
    rounds = 0
    for begin, end, how in plan(olds[rounds % len(olds)], new):
        person.round(begin, end, how)
        rounds += 1
    return rounds


def test_releases_work_side_by_side_and_either_way(
    start: Callable[..., Any], older: OlderRelease
) -> None:
    """Through the whole upgrade and back: no 5xx, no session lost, no revocation unheard."""
    findings = Findings()
    joined = threading.Event()
    with (
        start(olds=2) as fleet,
        older_gateway(fleet, older) as verdicts,
        ThreadPoolExecutor(PEOPLE) as pool,
        ExitStack() as later,
    ):
        assert VERSION in gatepass(fleet, 0, "--version")
        judge = Judge(verdicts, findings)
        olds = [Site("old", issuer, findings) for issuer in fleet.issuers[:2]]
        new = Site("new", fleet.issuers[2], findings)
        people = people_of(fleet, judge, olds[0])
        before = [people[0].round(*olds, how) for how in ENDS if how != "revoke token"]
        # The schema changes, and the new issuer comes, while the old ones are at work.
        working = [pool.submit(busy, people[0], *olds, joined)]
        try:
            gatepass(fleet, 2, "migrate")
            assert [site.ready() for site in olds] == [True, True]
            gatepass(fleet, 0, "users", "list")
            fleet.issuers[2].process.start()
            fleet.issuers[2].wait_ready()
            verdicts.update(later.enter_context(newer_gateway(fleet)))
        finally:
            joined.set()
        assert all(rounds >= 1 for rounds in results(working))
        working = [pool.submit(side_by_side, person, olds, new) for person in people]
        assert results(working) == [len(ENDS) * 4] * PEOPLE
        assert olds[0].jwks() == olds[1].jwks() == new.jwks() != set()
        for grant in before:  # what only the old ones had ended is over here, too
            judge.ended([new], grant)
        # The old ones go.
        assert [site.issuer.process.stop(timeout=30) for site in olds] == [0, 0]
        begun = [new.login(person.name, person.password) for person in people]
        for person in people:
            person.refresh_kept(new)
        # And back: one of them again, beside the new one, then alone.
        olds[1].issuer.process.start()
        olds[1].issuer.wait_ready()
        begun = [new.refresh(olds[1].refresh(grant)) for grant in begun]
        olds[1].granted("logout", "/logout", {"refresh_token": begun[0]["refresh_token"]})
        judge.ended([olds[1], new], begun[0])
        assert new.issuer.process.stop(timeout=30) == 0
        for grant in begun[1:]:
            judge.accepted(olds[1].refresh(grant)["access_token"])
        people[0].round(olds[1], olds[1], "logout")
        for person in people:
            person.refresh_kept(olds[1])
    print(dict(findings.asked), dict(findings.seen), sep="\n")
    assert findings.violations == []
    assert {status for _, _, status in findings.asked} <= {200, 400, 401}
    for release in ("old", "new"):
        for operation, least in {"login": 25, "refresh": 110, "introspect": 40}.items():
            assert findings.of(release, operation) >= least, (release, operation)
        for fact in ("accepts", "refuses"):
            assert findings.seen[f"gateway {release} {fact}"] >= 50
        assert findings.seen[f"{release} refuses to refresh"] >= 30
        assert findings.seen[f"kept session at {release}"] >= 25
    for how in ENDS:
        for pair in ("old then new", "new then old"):
            assert findings.seen[f"{how}: {pair}"] == PEOPLE


def results(working: list[Future[int]]) -> list[int]:
    """What each thread came to."""
    return [one.result(timeout=120) for one in working]


def test_issuers_that_share_less_are_found_out(
    start: Callable[..., Any], older: OlderRelease
) -> None:
    """The mutant keeps its sessions and revocations to itself, and each kind of check sees it."""
    findings = Findings(patience=0.5)
    with (
        start(olds=1, GATEPASS_NAMESPACE="elsewhere") as fleet,
        older_gateway(fleet, older) as verdicts,
    ):
        judge = Judge(verdicts, findings)
        old, new = (Site(name, fleet.issuers[i], findings) for i, name in enumerate(["old", "new"]))
        (person, *_) = people_of(fleet, judge, old)
        fleet.issuers[1].process.start()
        fleet.issuers[1].wait_ready()
        with pytest.raises(Violated):
            person.round(old, new, "logout")
        grant = new.login(person.name, person.password)
        judge.accepted(grant["access_token"])
        new.revoke("revoke token", grant["access_token"])
        judge.inactive([old], grant["access_token"])
        judge.revoked_at_gateways(grant["access_token"])
        grant = new.login(person.name, person.password)
        with pytest.raises(Violated):
            person.refresh_kept(new)
    found = "\n".join(findings.violations)
    for what in (
        "new: refresh: 400",
        "not so: old introspects as inactive",
        "not so: gateway old refuses accepted",
    ):
        assert what in found
