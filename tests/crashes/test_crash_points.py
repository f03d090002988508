"""Between every two steps of every operation there is a crash point."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.crash_factors import OPERATIONS
from harness.crash_operations import Operation, operation
from harness.crash_trace import Step, Trace, TracedStage, gaps
from harness.processes import until
from harness.redis_server import RedisServer

from issuer import revoker
from issuer.crash_points import CrashPoint
from revocation import Entry, Position

_IN_SQL = (CrashPoint.KEYS_ROW_WRITTEN, CrashPoint.KEYS_COMMITTED)


def traced(stage: TracedStage, done: Operation) -> Trace:
    """What one operation does."""
    scene = done.scene(stage)
    with stage.recording() as trace:
        done.do(scene)
    return trace


@pytest.mark.parametrize("done", OPERATIONS, ids=str)
def test_every_step_is_followed_by_a_crash_point(stage: TracedStage, done: Operation) -> None:
    """A real database, Redis and key file tell the steps; none follows another directly."""
    trace = traced(stage, done)
    assert trace.steps
    assert trace.gaps() == []
    assert trace.points == done.points


def test_a_rotation_in_the_database_has_crash_points(
    make_stage: Callable[..., TracedStage],
) -> None:
    """The same holds for a ring that is kept in SQL: first the command is written down there."""
    trace = traced(make_stage(key_store="database"), operation("gatepass keys rotate"))
    assert (len(trace.steps), trace.points, trace.gaps()) == (2, _IN_SQL, [])


def test_no_crash_point_is_dead(project_root: Path) -> None:
    """Some operation passes each name that is registered; the others have tests of their own."""
    elsewhere = (
        "restore.",
        "notifications.",
        "audit.appended",
        "audit.consumed",
        "audit.redaction",
    )
    passed = {point for each in OPERATIONS for point in each.points} | set(_IN_SQL)
    assert passed == {point for point in CrashPoint if not point.startswith(elsewhere)}
    tests = [
        path.read_text("utf-8") for path in project_root.joinpath("tests").rglob("test_*killed*.py")
    ]
    for point in set(CrashPoint) - passed:
        named = (f"At.{point.name}", f"CrashPoint.{point.name}", f'"{point.partition(".")[0]}."')
        assert any(name in text for name in named for text in tests), point


def test_the_docs_list_every_operation_with_its_points(project_root: Path) -> None:
    """docs/durability.md has exactly these rows, whose points the traces above confirm."""
    text = (project_root / "docs" / "durability.md").read_text("utf-8")
    section = text.partition("\n## Crash points\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+) \| (`.+`) \|$", section, re.MULTILINE)
    expected = [(each.name, each.points) for each in OPERATIONS]
    expected.append(("gatepass keys rotate, keys in the database", _IN_SQL))
    assert [(name, tuple(re.findall(r"`(.+?)`", points))) for name, points in rows] == expected


@pytest.mark.parametrize("point", ["revocation.journalled", "revocation.ended", "revocation.done"])
def test_a_step_without_its_point_is_found(
    stage: TracedStage, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Mutant: a logout that does not reach one of its points has a gap just there."""
    reach = revoker.reach
    monkeypatch.setattr(revoker, "reach", lambda at: None if at == point else reach(at))
    assert len(traced(stage, operation("logout by refresh token")).gaps()) == 1


def test_a_step_that_is_taken_twice_is_found(
    stage: TracedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutant: a second write to Redis right after the first is a gap."""
    denylist = stage.issuer.services.denylist
    add = denylist.add

    another = Entry.token("another token", stage.issuer.services.revoker.entry_expiry())

    def twice(_self: object, entries: list[Entry], known: Position | None) -> Position:
        add([another])
        return add(entries, known)

    monkeypatch.setattr(type(denylist), "add", twice)
    (gap,) = traced(stage, operation("logout by refresh token")).gaps()
    assert gap.startswith("Redis: EVALSHA")


def test_what_others_do_meanwhile_is_no_step(
    stage: TracedStage, private_redis: RedisServer
) -> None:
    """A command of this process on another server is none, whatever changes here meanwhile."""
    theirs, waiting = private_redis.client(), private_redis.client()
    scene = operation("logout by refresh token").scene(stage)
    with stage.recording() as trace:
        other = threading.Thread(target=lambda: waiting.blpop(["news"], timeout=30))
        other.start()
        for _ in until(10, "a command under way"):
            if theirs.info("clients")["blocked_clients"]:
                break
        operation("logout by refresh token").do(scene)
        theirs.rpush("news", "of today")
        other.join()
    assert trace.gaps() == []
    assert not [step for step in trace.steps if "news" in step]


def test_the_answer_is_a_step_too() -> None:
    """What was done and not yet told needs a point as well."""
    assert gaps([Step("one"), CrashPoint.REVOCATION_DONE]) == []
    assert gaps([CrashPoint.REVOCATION_DONE, Step("one")]) == ["one, then the answer"]
