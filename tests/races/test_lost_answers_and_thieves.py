"""The six rules over HTTP: what a network loses is forgiven, what a thief takes is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import pytest
from harness.issuer_process import Answer, IssuerFleet, IssuerProcess, reaches
from harness.postgres_server import PostgresServer
from harness.processes import until
from harness.redis_server import RedisServer

from gateway import Verifier
from issuer.families import Family, FamilyStore, RotationRules, open_families
from revocation import Kind, TokenRevoked, open_denylist

PASSWORD = "seven violet otters juggle 91"
REUSE_INTERVAL = 10
LATER = REUSE_INTERVAL + 1


@pytest.fixture(scope="module")
def fleet(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IssuerFleet]:
    """Two issuers on a clock that tests move on; each test has a person of its own."""
    url = postgres_server.create_database()
    directory = tmp_path_factory.mktemp("fleet")
    with RedisServer() as redis, IssuerFleet(url, redis.unix_url, directory, shifted=True) as fleet:
        yield fleet
    postgres_server.drop_database(url)


@pytest.fixture(scope="module")
def families(fleet: IssuerFleet) -> Iterator[FamilyStore]:
    """Where the issuers keep their families."""
    store = open_families(fleet.redis_url, RotationRules())
    yield store
    store.close()


@pytest.fixture
def verifier(fleet: IssuerFleet) -> Iterator[Verifier]:
    """A gateway that follows the denylist."""
    with fleet.verifier() as verifier:
        yield verifier


@pytest.fixture
def name(fleet: IssuerFleet, request: pytest.FixtureRequest) -> str:
    """The name of a person of the test's own."""
    fleet.add_account(request.node.name, PASSWORD)
    return str(request.node.name)


@pytest.fixture
def person(fleet: IssuerFleet, name: str) -> dict[str, Any]:
    """The person's first grant, just logged in."""
    return fleet.issuers[0].login(name, PASSWORD).granted()


def family_of(fleet: IssuerFleet, families: FamilyStore, token: str) -> Family:
    """The record behind a refresh token."""
    claims = fleet.opened(token)
    family = families.get(claims.sub, claims.sid)
    assert family is not None
    return family


def lose(issuer: IssuerProcess, fleet: IssuerFleet, families: FamilyStore, token: str) -> Family:
    """Refresh, drop the connection at once, and wait until the issuer has carried it out."""
    before = family_of(fleet, families, token).last_refresh
    issuer.lose_refresh(token)
    for _ in until(10, "a refresh whose client is gone"):
        family = family_of(fleet, families, token)
        if family.last_refresh > before:
            return family
    raise AssertionError("unreachable")


def refused(answer: Answer, status: int, error: str) -> str:
    """The description of a refusal."""
    assert (answer.status, answer.body["error"]) == (status, error), answer
    return str(answer.body["error_description"])


def in_step(fleet: IssuerFleet, verifier: Verifier) -> None:
    """Wait until the gateway holds everything that has been acknowledged."""
    denylist = open_denylist(fleet.redis_url)
    try:
        reaches(verifier.replica, denylist.state().position)
    finally:
        denylist.close()


def is_alive(fleet: IssuerFleet, verifier: Verifier, grant: dict[str, Any]) -> None:
    """A grant's session is listed once, and every verifier takes its access token."""
    token = grant["access_token"]
    claims = verifier.verify(token)
    for issuer in fleet.issuers:
        listed = issuer.sessions(token).granted()["sessions"]
        assert [session["sid"] for session in listed] == [claims.sid]
        assert issuer.introspect(token)


def is_dead(fleet: IssuerFleet, verifier: Verifier, grants: list[dict[str, Any]]) -> None:
    """No verifier takes any of the grants' tokens, because their session was ended."""
    in_step(fleet, verifier)
    for grant in grants:
        with pytest.raises(TokenRevoked) as caught:
            verifier.verify(grant["access_token"])
        assert caught.value.kind is Kind.SESSION
        for issuer in fleet.issuers:
            refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
            refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")
            assert not issuer.introspect(grant["access_token"])


def test_a_lost_answer_is_made_up_for_a_minute_later(
    fleet: IssuerFleet, families: FamilyStore, verifier: Verifier, person: dict[str, Any]
) -> None:
    """The client is gone before the answer comes, asks again after a minute, and goes on."""
    first, second = fleet.issuers
    token = person["refresh_token"]
    fleet.advance(LATER)
    assert lose(first, fleet, families, token).gen == 2
    fleet.advance(60)
    again = second.refresh(token).granted()
    assert fleet.opened(again["refresh_token"]).gen == 2
    is_alive(fleet, verifier, again)
    fleet.advance(LATER)
    onward = first.refresh(again["refresh_token"]).granted()
    assert fleet.opened(onward["refresh_token"]).gen == 3
    is_alive(fleet, verifier, onward)


@pytest.mark.parametrize(
    "pauses",
    [(0, 0, 0, 0), (LATER,) * 4, (60,) * 4, (0, 60, 1, 600), (5, 9, 11, 240)],
    ids=lambda pauses: "-".join(map(str, pauses)),
)
def test_five_lost_answers_to_one_refresh_log_nobody_out(
    fleet: IssuerFleet,
    families: FamilyStore,
    verifier: Verifier,
    person: dict[str, Any],
    pauses: tuple[int, ...],
) -> None:
    """Whenever its retries come, a client that lost five answers gets the sixth and goes on."""
    token = person["refresh_token"]
    issuers = cycle(fleet.issuers)
    fleet.advance(LATER)
    for pause in (0, *pauses):
        fleet.advance(pause)
        assert lose(next(issuers), fleet, families, token).gen == 2
    fleet.advance(30)
    grant = next(issuers).refresh(token).granted()
    assert fleet.opened(grant["refresh_token"]).gen == 2
    for generation in range(3, 8):
        is_alive(fleet, verifier, grant)
        fleet.advance(LATER)
        grant = next(issuers).refresh(grant["refresh_token"]).granted()
        assert fleet.opened(grant["refresh_token"]).gen == generation
    is_alive(fleet, verifier, grant)


def test_a_grandparent_ends_the_session_and_its_access_tokens(
    fleet: IssuerFleet, verifier: Verifier, name: str, person: dict[str, Any]
) -> None:
    """A token two generations old ends the family, here and at every gateway, and no other one."""
    grants = [person]
    for issuer in fleet.issuers:
        fleet.advance(LATER)
        grants.append(issuer.refresh(grants[-1]["refresh_token"]).granted())
    assert fleet.opened(grants[-1]["refresh_token"]).gen == 3
    is_alive(fleet, verifier, grants[-1])
    answer = fleet.issuers[0].refresh(person["refresh_token"])
    assert "used before" in refused(answer, 400, "invalid_grant")
    is_dead(fleet, verifier, grants)
    is_alive(fleet, verifier, fleet.issuers[1].login(name, PASSWORD).granted())


def test_a_parent_whose_successor_was_used_ends_the_session(
    fleet: IssuerFleet, verifier: Verifier, person: dict[str, Any]
) -> None:
    """Once the successor has been presented the parent is spent, but for the reuse interval."""
    first, second = fleet.issuers
    parent = person["refresh_token"]
    fleet.advance(LATER)
    child = first.refresh(parent).granted()
    confirmed = second.refresh(child["refresh_token"]).granted()
    assert fleet.opened(confirmed["refresh_token"]).gen == 2
    # A slow tab, still within the interval.
    tab = first.refresh(parent).granted()
    assert fleet.opened(tab["refresh_token"]).gen == 2
    is_alive(fleet, verifier, tab)
    fleet.advance(LATER)
    assert "used before" in refused(second.refresh(parent), 400, "invalid_grant")
    is_dead(fleet, verifier, [person, child, confirmed, tab])


def test_a_thief_in_lockstep_is_caught_at_the_fourth_generation(
    fleet: IssuerFleet, verifier: Verifier, person: dict[str, Any]
) -> None:
    """Who follows one generation behind gets three generations, then ends the session for both."""
    home, elsewhere = fleet.issuers
    victim, loot = person, []
    for generation in (1, 2, 3, 4):
        stolen = victim["refresh_token"]
        assert fleet.opened(stolen).gen == generation
        fleet.advance(LATER)
        victim = home.refresh(stolen).granted()
        fleet.advance(LATER)
        answer = elsewhere.refresh(stolen)
        if generation < 4:
            loot.append(answer.granted())
            assert fleet.opened(loot[-1]["refresh_token"]).gen == generation + 1
            is_alive(fleet, verifier, loot[-1])
    assert "used before" in refused(answer, 400, "invalid_grant")
    is_dead(fleet, verifier, [person, victim, *loot])


def test_a_parent_past_the_retry_window_ends_the_session(
    make_fleet: Callable[..., IssuerFleet], private_redis: RedisServer
) -> None:
    """With a retry window set, an unused successor is handed out within it and not after."""
    fleet = make_fleet(shifted=True, settings={"GATEPASS_RETRY_WINDOW": "120"})
    fleet.add_account("alice", PASSWORD)
    first, second = fleet.issuers
    person = first.login("alice", PASSWORD).granted()
    families = open_families(fleet.redis_url, RotationRules())
    fleet.advance(LATER)
    assert lose(first, fleet, families, person["refresh_token"]).gen == 2
    fleet.advance(100)
    in_time = second.refresh(person["refresh_token"]).granted()
    assert fleet.opened(in_time["refresh_token"]).gen == 2
    families.close()
    with fleet.verifier() as verifier:
        is_alive(fleet, verifier, in_time)
        fleet.advance(20)
        assert "used before" in refused(
            first.refresh(person["refresh_token"]), 400, "invalid_grant"
        )
        is_dead(fleet, verifier, [person, in_time])
