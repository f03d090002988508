"""The queue: each event once for each receiver, leased by one process, and forgotten in time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from harness import stacks
from harness.issuer_app import IssuerApp
from harness.notified import deliver, event, states, tell
from harness.receivers import WEBHOOK_SECRET, Receiver

from issuer.audit import EventKind
from issuer.database.tables import deliveries
from issuer.notifications import queue as queueing
from issuer.notifications.delivery import Delivery, Wanted
from issuer.notifications.queue import KEPT, DeliveryQueue

pytestmark = stacks.both_databases
TARGET = "webhook:siem"


@pytest.fixture
def issuer(make_issuer: Callable[..., IssuerApp], receiver: Receiver) -> IssuerApp:
    """One with one webhook."""
    hook = {"url": receiver.url, "secret": WEBHOOK_SECRET}
    return make_issuer(notifications={"webhooks": {"siem": hook}})


@pytest.fixture
def queue(issuer: IssuerApp) -> DeliveryQueue:
    """Its queue."""
    return issuer.services.notifications.queue


def told_twice(issuer: IssuerApp, receiver: Receiver) -> int:
    """How often a receiver hears of an event that the log gives three times, also afterwards."""
    happened = event(issuer, EventKind.REUSE_DETECTED)
    tell(issuer, happened, happened)
    deliver(issuer)
    tell(issuer, happened)
    deliver(issuer)
    return len(receiver.requests)


def test_an_event_that_comes_again_makes_nothing_twice(
    issuer: IssuerApp, receiver: Receiver
) -> None:
    """Within a batch, in the next one, and after it was delivered."""
    assert told_twice(issuer, receiver) == 1


def test_a_queue_that_knows_no_event_again_is_found(
    issuer: IssuerApp, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutant: what goes by the time of its coming is delivered as often as it comes."""
    insert, number = queueing.insert_if_absent, iter(range(9))

    def careless(connection: Any, table: Any, **values: Any) -> bool:
        return insert(connection, table, **{**values, "key": f"{next(number)}"})

    monkeypatch.setattr(queueing, "insert_if_absent", careless)
    assert told_twice(issuer, receiver) == 3


def leased_at_once(queue: DeliveryQueue) -> list[Delivery]:
    """What twelve threads lease at the same moment."""
    found: list[Delivery | None] = []
    gate = threading.Barrier(12)

    def lease() -> None:
        gate.wait()
        found.append(queue.lease(TARGET, 60))

    threads = [threading.Thread(target=lease) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [each for each in found if each is not None]


def test_each_row_is_leased_by_one(issuer: IssuerApp, queue: DeliveryQueue) -> None:
    """Twelve at once get five rows between them, each of them one."""
    tell(issuer, *(event(issuer, EventKind.REUSE_DETECTED) for _ in range(5)))
    leased = leased_at_once(queue)
    assert len({each.id for each in leased}) == len(leased)
    rest = len([1 for _ in range(6) if queue.lease(TARGET, 60)])
    assert len(leased) + rest == 5
    assert queue.due() == []


def test_a_lease_ends_by_itself(issuer: IssuerApp, queue: DeliveryQueue) -> None:
    """At its time, not before; whoever had it then notes nothing any more."""
    tell(issuer, event(issuer, EventKind.REUSE_DETECTED))
    first = queue.lease(TARGET, 60)
    assert first is not None
    issuer.clock.advance(59)
    assert queue.lease(TARGET, 60) is None
    issuer.clock.advance(1)
    assert queue.due() == [TARGET]
    second = queue.lease(TARGET, 60)
    assert second is not None
    assert (second.id, second.attempts) == (first.id, 2)
    assert not queue.failed(first, "late", again_in=0)
    assert not queue.give_up(first, "late")
    assert queue.delivered(second)
    assert not queue.delivered(second)
    assert states(issuer) == [(TARGET, "delivered", 2, "")]


def test_what_has_been_due_for_longest_comes_first(issuer: IssuerApp, queue: DeliveryQueue) -> None:
    """One that failed waits its time, and is not overtaken for ever."""
    first, second, third = (event(issuer, EventKind.REUSE_DETECTED) for _ in range(3))
    tell(issuer, first, second)
    leased = queue.lease(TARGET, 60)
    assert leased is not None
    queue.failed(leased, "status 500", again_in=10)
    issuer.clock.advance(11)
    tell(issuer, third)
    order = [queue.lease(TARGET, 60) for _ in range(3)]
    assert [each.event for each in order if each] == [second, first, third]


def test_what_only_a_newer_version_knows_holds_up_nothing(
    issuer: IssuerApp, receiver: Receiver
) -> None:
    """It waits for an issuer that knows it."""
    for kind in (EventKind.SESSION_ENDED, EventKind.PASSWORD_CHANGED):
        tell(issuer, event(issuer, kind, sid="s" * 22))
    with issuer.services.engine.begin() as connection:
        connection.execute(
            sa.update(deliveries).where(deliveries.c.kind == "session_ended").values(body="{}")
        )
    deliver(issuer)
    assert [request.json["type"] for request in receiver.requests] == ["password_changed"]
    newer, done = sorted(states(issuer), key=lambda state: state[1], reverse=True)
    assert (newer[1:], done[1:]) == (("waiting", 1, "newer_format"), ("delivered", 1, ""))


def test_what_is_done_is_dropped_in_time(issuer: IssuerApp, queue: DeliveryQueue) -> None:
    """After a week; what waits stays."""
    tell(issuer, event(issuer, EventKind.REUSE_DETECTED))
    deliver(issuer)
    tell(issuer, event(issuer, EventKind.PASSWORD_CHANGED))
    issuer.clock.advance(KEPT - 1)
    assert queue.prune() == 0
    issuer.clock.advance(1)
    assert queue.prune() == 1
    assert [state for _, state, _, _ in states(issuer)] == ["waiting"]


def test_a_person_who_is_erased_is_forgotten(issuer: IssuerApp, receiver: Receiver) -> None:
    """What was or would be told of them goes (GDPR article 17), but for ends of sessions elsewhere
    that wait; others stay."""
    mine = event(issuer, EventKind.REUSE_DETECTED)
    tell(issuer, mine, replace(mine, sub="somebody else", id="another"))
    deliver(issuer)
    queue = issuer.services.notifications.queue
    waiting = replace(mine, id="waits")
    targets = ("email", "webhook:ours", "signals:theirs", "logout:shop")
    queue.add(Wanted(target, "waits", waiting) for target in targets)
    assert queue.erase(str(mine.sub)) == 3
    left = {(row["sub"], row["target"]) for row in issuer.rows("deliveries")}
    assert left == {
        ("somebody else", TARGET),
        (mine.sub, "signals:theirs"),
        (mine.sub, "logout:shop"),
    }
    assert len(receiver.requests) == 2


def test_rows_are_found_by_their_indexes(issuer: IssuerApp, queue: DeliveryQueue) -> None:
    """To lease, to give up and to prune reads no whole table."""
    if issuer.services.engine.dialect.name != "sqlite":
        return
    plans: list[str] = []
    with issuer.services.engine.connect() as connection:
        for where in (
            "state = 'waiting' AND target = 'x' AND due <= 1 ORDER BY due, id",
            "state = 'waiting' AND gives_up <= 1",
            "state != 'waiting' AND due <= 1",
        ):
            rows = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN SELECT id FROM deliveries WHERE {where}"
            )
            plans += [str(row[3]) for row in rows]
    assert [plan.split(" ")[0] for plan in plans if "TEMP" not in plan] == ["SEARCH"] * 3
