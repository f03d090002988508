"""Password changes race with logins, refreshes, rehashes and each other; the history is checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.issuer_process import IssuerFleet
from harness.postgres_server import PostgresServer
from harness.processes import monotonic
from harness.race_history import Figures, Violation
from harness.race_load import Race
from harness.redis_server import RedisServer

QUICK_ROTATION = {"GATEPASS_REUSE_INTERVAL": "0.05"}
# Whatever hash one issuer stores, a login at the other one replaces.
REHASHING = (
    {},
    {"GATEPASS_HASHING__MEMORY_COST": "1024", "GATEPASS_HASHING__TIME_COST": "4"},
)
SLOWLY = {"GATEPASS_HASHING__MEMORY_COST": "4096", "GATEPASS_HASHING__TIME_COST": "8"}
FOREIGN_MEMORY = 32
APART = 1.0
"""Seconds between two judgements of a history that still grows: each goes through all of it."""
LONGEST = 240
"""Seconds until a race is over anyhow: a busy machine may take long to see enough."""


def race(
    make_fleet: Callable[..., IssuerFleet],
    *,
    enough: Callable[[list[Violation], Figures], bool],
    settle: bool = True,
    **size: Any,
) -> tuple[Race, list[Violation], Figures]:
    """Run a race on two issuers until its history is `enough`.

    What may not have happened, and how much of a race it was.
    """
    options = size.pop("fleet", {})
    fleet = make_fleet(settings=QUICK_ROTATION, issuer_settings=REHASHING, **options)
    with (
        fleet.verifier() as verifier,
        Race(fleet, first_hash_memory=FOREIGN_MEMORY, seconds=LONGEST, **size) as running,
    ):
        due = monotonic() + APART

        def is_enough() -> bool:
            nonlocal due
            if monotonic() < due:
                return False
            try:
                judged = running.judge()
            except KeyError:
                # A login was written down before the change that gave it its password. At the end
                # there is none such.
                return False
            due = monotonic() + APART
            return enough(*judged)

        running.watch(verifier, is_enough)
        violations, figures = running.settle(verifier) if settle else running.judge()
    print(figures, f"{running.rehashes} rehashes seen, {running.stale} checks declined", sep="; ")
    return running, violations, figures


def test_nothing_older_is_accepted_and_nothing_newer_refused(
    make_fleet: Callable[..., IssuerFleet],
) -> None:
    """On PostgreSQL and Redis, thousands of interleavings leave a history without fault."""
    running, violations, figures = race(
        make_fleet,
        people=2,
        devices=8,
        enough=lambda _, figures: figures.changes_won >= 120 and figures.interleavings >= 1000,
    )
    assert violations == []
    assert figures.interleavings >= 1000
    assert figures.contested >= 30
    assert running.rehashes >= 5
    assert figures.operations["gateway"] >= 1000


def test_the_same_on_sqlite(make_fleet: Callable[..., IssuerFleet], tmp_path: Path) -> None:
    """On SQLite and Redis, with its one writer at a time, the history has no fault either."""
    database = f"sqlite:///{tmp_path}/issuer.db"
    _, violations, figures = race(
        make_fleet,
        people=1,
        devices=6,
        enough=lambda _, figures: figures.changes_won >= 25 and figures.interleavings >= 100,
        fleet={"database_url": database},
    )
    assert violations == []
    assert figures.interleavings >= 100
    assert figures.contested >= 5


@pytest.mark.parametrize(
    ("mutant", "telling"),
    [
        ("no-denylist", "an older token was taken: .*'gateway'"),
        ("late-denylist", "an older token was taken: .*'gateway'"),
        ("no-condition", "a change gave version|has [2-9] passwords"),
        ("stale-rehash", "the right password was refused|gave version"),
        ("no-version", "an older token was taken: .*'refresh'"),
    ],
)
def test_a_mutant_is_found(
    make_fleet: Callable[..., IssuerFleet],
    private_redis: RedisServer,
    postgres_server: PostgresServer,
    tmp_path: Path,
    mutant: str,
    telling: str,
) -> None:
    """An issuer that leaves out one step of what protects it makes a history that is at fault.

    In one race of three at the most: which requests meet in a short one is left to chance.
    """

    def is_told(violations: list[Violation]) -> bool:
        return any(re.search(telling, violation) for violation in violations)

    def found(attempt: int) -> bool:
        own: dict[str, Any] = {"directory": tmp_path / str(attempt)}
        own["database_url"] = postgres_server.create_database()
        private_redis.reset()
        running, violations, _ = race(
            make_fleet,
            settle=False,
            people=1,
            devices=6,
            enough=lambda violations, figures: is_told(violations) or figures.changes_won >= 15,
            fleet={"alterations": [mutant], **own},
        )
        running.fleet.stop()
        postgres_server.drop_database(own["database_url"])
        return is_told(violations)

    assert any(found(attempt) for attempt in range(3))
