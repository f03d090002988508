"""What is measured of a refused login tells nobody which accounts there are (ASVS 6.3.8).

Measured is the processor's time of the thread that answers, in process: what others do on the
machine is not in it, while everything that an answer costs is, the database included. What the
network and a queue add is the same for all. In each round every case has its turn, in random order,
and cases are compared within the rounds: what slows the machine for a moment slows all alike.
How many rounds it takes to see a difference follows from how much the times of one case spread.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import argon2
import pytest
import sqlalchemy as sa
from harness import stacks
from harness.issuer_app import PASSWORD, USERNAME, IssuerApp, basic
from harness.limits import WIDE
from harness.redis_server import RedisServer

from issuer.accounts import BadCredentials, PasswordHasher
from issuer.database.tables import accounts

ROUNDS = (60, 120, 240, 480)
"""Of each case: as many as it takes to find a fifth of the time in 95 of 100 measurements."""
SHIFT = 0.10
"""The share of the time that a difference must have to be one that travels over a network."""
CERTAIN = 4.4
"""Standard deviations of the signed ranks: by chance once in a hundred thousand comparisons."""
HASHING = {"time_cost": 2, "memory_cost": 2560, "parallelism": 1, "concurrency": 2}
OLDER = argon2.PasswordHasher(time_cost=1, memory_cost=1280, parallelism=1)
STRONGER = argon2.PasswordHasher(time_cost=2, memory_cost=2560, parallelism=1, hash_len=24)

Case = Callable[[], object]


def measured(cases: dict[str, Case], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each case in each round."""
    order = random.Random(7)
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds + 2):
        for name in order.sample(list(cases), len(cases)):
            began = time.thread_time()
            cases[name]()
            times[name].append(time.thread_time() - began)
    return {name: found[2:] for name, found in times.items()}  # without what is first of all


def told_apart(ratios: list[float]) -> bool:
    """Whether a case differs from another, by their ratio in each round.

    Surely (Wilcoxon's signed ranks), and by enough to matter.
    """
    n = len(ratios)
    logs = sorted(map(math.log, ratios), key=abs)
    above = sum(rank for rank, value in enumerate(logs, 1) if value > 0)
    expected = n * (n + 1) / 4
    deviations = abs(above - expected) / math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    return deviations > CERTAIN and abs(math.log(median(ratios))) > math.log(1 + SHIFT)


def rounds_for(case: Case) -> int:
    """The rounds in which a fifth more is found in 95 of 100 draws, and nothing in none of 100."""
    chance = random.Random(11)
    for rounds in ROUNDS:
        times = measured({"one": case, "other": case}, rounds)
        same = [one / other for one, other in zip(times["one"], times["other"], strict=True)]
        # Which of the two is the one says nothing: what a moment's noise made of it is taken out.
        draws = [
            [ratio ** chance.choice((1, -1)) for ratio in chance.choices(same, k=rounds)]
            for _ in range(100)
        ]
        assert not any(map(told_apart, draws))
        if sum(told_apart([1.2 * ratio for ratio in draw]) for draw in draws) >= 95:
            return rounds
    raise AssertionError(f"a fifth is not found in {rounds} rounds: the times spread too far")


def revealing(cases: dict[str, Case]) -> list[str]:
    """The cases that are told apart from the first; measured again before it is believed."""
    first, *others = cases
    rounds = rounds_for(cases[first])
    found = others
    for _ in range(2):
        times = measured({name: cases[name] for name in (first, *found)}, rounds)
        found = [
            name
            for name in found
            if told_apart([a / b for a, b in zip(times[name], times[first], strict=True)])
        ]
        if not found:
            break
    return found


@pytest.fixture
def issuer(make_issuer: Callable[..., IssuerApp]) -> IssuerApp:
    """It hashes for some milliseconds, and limits nobody."""
    return make_issuer(hashing=HASHING, limits=WIDE)


@pytest.fixture
def cases(issuer: IssuerApp) -> dict[str, Case]:
    """Logins that are refused: for a name that nobody has, and for each kind of account."""
    directory = issuer.services.accounts
    hashes = {
        "older parameters": OLDER.hash(PASSWORD),
        "other length": STRONGER.hash(PASSWORD),
        "no password": "",
        "no hash": "!",
        "a broken hash": "$argon2id$v=19$m=2560,t=2,p=1$AAAA$",
    }
    with issuer.services.engine.begin() as connection:
        for number, (name, text) in enumerate(hashes.items()):
            row = {"id": f"id-{number}", "username": name, "password_hash": text, "roles": []}
            counters = {"credential_version": 1, "sub_ver": 1, "enabled": True, "created": 0}
            connection.execute(sa.insert(accounts).values(**row, **counters))
    disabled = directory.add("disabled", PASSWORD)
    directory.set_enabled(disabled.id, False, expires=0)

    def case(username: str, password: str = "wrong password") -> Case:
        def ask() -> None:
            assert (
                issuer.app.test_client()
                .post(
                    "/login", json={"username": username, "password": password, "transport": "body"}
                )
                .status_code
                == 400
            )

        return ask

    made = {"nobody": case("nobody"), "wrong password": case(USERNAME)}
    made |= {name: case(name) for name in hashes}
    made["disabled"] = case("disabled")
    made["disabled, right password"] = case("disabled", PASSWORD)
    return made


@stacks.anywhere
def test_no_refused_login_tells_whether_the_name_is_known(cases: dict[str, Case]) -> None:
    """Unknown, known, disabled, without a password, under older parameters: one time for all."""
    assert revealing(cases) == []


@stacks.on_redis
def test_no_refused_login_asks_a_store_for_more(
    issuer: IssuerApp, cases: dict[str, Case], redis_server: RedisServer
) -> None:
    """What is measured above is the processor's time; here is what would be waited for."""
    statements: list[str] = []

    @sa.event.listens_for(issuer.services.engine, "before_cursor_execute")
    def note(*given: Any) -> None:
        statements.append(given[2])

    def asked(case: Case) -> tuple[list[str], int]:
        case()  # what is loaded at first is loaded now
        statements.clear()
        with redis_server.client() as client:
            before = client.info("stats")["total_commands_processed"]
            case()
            after = client.info("stats")["total_commands_processed"]
        return statements[:], after - before

    first, *others = (asked(case) for case in cases.values())
    assert len(first[0]) > 1
    assert first[1] > 1
    assert others == [first] * len(others)


@stacks.anywhere
def test_an_issuer_that_skips_hashing_is_caught(
    cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hashes nothing for unknown names, or less for older accounts, is told apart."""
    monkeypatch.setattr(PasswordHasher, "_spend_rest", lambda *_: None)
    some = {
        name: cases[name] for name in ("nobody", "wrong password", "older parameters", "no hash")
    }
    assert revealing(some) == ["older parameters", "no hash"]

    def skips(*_: object) -> None:
        raise BadCredentials("no such account")

    monkeypatch.setattr(PasswordHasher, "verify_nobody", skips)
    assert revealing({name: some[name] for name in ("wrong password", "nobody")}) == ["nobody"]


@stacks.anywhere
def test_the_measurement_finds_a_fifth_of_a_hash(cases: dict[str, Case]) -> None:
    """Its power: as many rounds as this machine needs are not more than can be made."""
    assert rounds_for(cases["nobody"]) in ROUNDS


@stacks.anywhere
def test_nothing_else_tells_who_is_known(make_issuer: Callable[..., IssuerApp]) -> None:
    """Asking for a reset, and a wrong secret, take as long for names that nobody has."""
    issuer = make_issuer(limits=WIDE)
    client = issuer.app.test_client()

    def forgot(username: str) -> Case:
        return lambda: client.post("/password/forgot", json={"username": username})

    def introspect(client_id: str) -> Case:
        headers = basic(client_id, "wrong")
        return lambda: client.post("/introspect", data={"token": "x"}, headers=headers)

    def revoke(token: str) -> Case:
        return lambda: client.post("/revoke", data={"token": token, "client_id": "demo"})

    header, payload, signature = issuer.grant()["access_token"].split(".")
    _, foreign, _ = issuer.grant()["access_token"].split(".")
    # Nobody is told more for having guessed the identifiers of a session: the signature is wrong.
    forged = [f"{header}.{each}.{signature[:-4]}AAAA" for each in (payload, foreign)]
    for pair in (
        {"nobody": forgot("nobody"), "somebody": forgot(USERNAME)},
        {"no client": introspect("nobody"), "a client": introspect("rs")},
        {"a session": revoke(forged[0]), "another": revoke(forged[1])},
    ):
        assert revealing(pair) == []
