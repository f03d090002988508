"""What each rule about a session sees, and what it lets be."""

from __future__ import annotations

from typing import Any

import pytest
from harness.anomaly_events import (
    CAFE,
    DAY,
    FIREFOX,
    HOME,
    HOUR,
    OFFICE,
    SCRIPT,
    WINDOWS,
    Watch,
    event,
    refreshed,
    started,
)

from issuer.audit import Event, EventKind

PERIOD = 240.0


def generations(
    number: int, delay: float, *, start: float = 0, sid: str = "s1", **second: Any
) -> list[Event]:
    """So many rotations of a session, each followed by its parent again."""
    events = []
    for each in range(number):
        at = start + each * PERIOD
        events.append(refreshed(at, sid=sid))
        events.append(refreshed(at + delay, "resent", sid=sid, **second))
    return events


@pytest.mark.parametrize(
    ("number", "delay", "second", "found"),
    [
        (2, 4, {"address": CAFE}, False),
        (3, 4, {"address": CAFE}, True),
        (3, 0.5, {"user_agent": FIREFOX}, True),
        (20, 1.9, {"address": CAFE}, False),
        (7, 2, {}, False),
        (8, 2, {}, True),
        (30, 1.9, {}, False),
    ],
)
def test_a_follower_shows_by_a_parent_in_every_generation(
    number: int, delay: float, second: dict[str, Any], found: bool
) -> None:
    """Sooner from elsewhere; never where it comes so soon that it was under way already."""
    assert ("follower" in Watch().see(*generations(number, delay, **second))) is found


def test_a_pool_of_exits_does_not_follow() -> None:
    """A device that loses answers and is elsewhere at every request is not two."""
    events = []
    for each in range(7):
        events.append(refreshed(each * PERIOD, address=f"62.7.{each}.1"))
        events.append(refreshed(each * PERIOD + 4, "resent", address=f"62.8.{each}.1"))
    assert Watch().see(*events) == []


def test_lost_answers_do_not_follow() -> None:
    """A generation without a second presentation begins the row anew."""
    watch = Watch()
    for hours in (0, 2, 4):
        assert watch.see(*generations(7, 5, start=hours * HOUR)) == []
        assert watch.see(refreshed((hours + 1) * HOUR)) == []


def test_tabs_that_ask_at_one_moment_do_not_follow() -> None:
    """Whatever share a cookie presents the newest token, or one that was under way."""
    events = [started(0)]
    for each in range(1, 100):
        at = each * PERIOD
        events += [refreshed(at), refreshed(at + 0.1, "resent"), refreshed(at + 3, "repeated")]
    assert Watch().see(*events) == []


@pytest.mark.parametrize(
    ("fields", "needed"), [({"user_agent": FIREFOX}, 7), ({"address": CAFE}, 18)]
)
def test_two_that_take_turns_are_two_places(fields: dict[str, Any], needed: int) -> None:
    """Both agents come sooner than both networks, which phones change more often."""
    events = [refreshed(each * 120, **(fields if each % 2 else {})) for each in range(30)]
    watch = Watch()
    turns = [watch.see(each) for each in events]
    assert ["two_places" in found for found in turns].index(True) == needed - 1


@pytest.mark.parametrize(
    "addresses",
    [
        [HOME] * 30 + [CAFE] * 30,
        [HOME, HOME, CAFE] * 20,
        [HOME, CAFE, OFFICE] * 20,
        ["2a02:1:2::1", HOME] * 30,
    ],
)
def test_what_a_phone_does_is_no_two_places(addresses: list[str]) -> None:
    """It changes once, or stays for two requests, or goes on to a third, or has both versions."""
    events = [refreshed(each * PERIOD, address=address) for each, address in enumerate(addresses)]
    assert Watch().see(*events) == []


def test_an_update_is_no_other_agent() -> None:
    """A browser that changes its version goes on as before."""
    agents = [WINDOWS.format(120), WINDOWS.format(121)]
    events = [refreshed(each * 60, user_agent=agents[each % 2]) for each in range(40)]
    assert Watch().see(*events) == []


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"user_agent": SCRIPT, "address": CAFE}, ["moved"]),
        ({"user_agent": SCRIPT}, []),
        ({"address": CAFE}, []),
        ({"user_agent": "", "address": CAFE}, []),
        ({"user_agent": SCRIPT, "address": ""}, []),
    ],
)
def test_a_session_moves_with_agent_and_network_alone(
    fields: dict[str, Any], found: list[str]
) -> None:
    """One of the two changes every day; what is not known is not another."""
    assert Watch().see(started(0), refreshed(HOUR), refreshed(2 * HOUR, **fields)) == found


@pytest.mark.parametrize(("every", "found"), [(1.0, True), (2.5, True), (3.1, False)])
def test_a_rate_that_no_person_makes(every: float, found: bool) -> None:
    """Above twenty a minute a bucket of a hundred and fifty runs over."""
    events = [refreshed(each * every, "repeated") for each in range(1000)]
    assert ("refresh_rate" in Watch().see(*events, at_a_time=200)) is found


def test_restored_tabs_are_no_rate() -> None:
    """Forty tabs at once, thrice each, and again after an hour."""
    watch = Watch()
    for hour in range(3):
        burst = [refreshed(hour * HOUR + each / 20, "repeated") for each in range(120)]
        assert watch.see(*burst, at_a_time=50) == []


def test_reuse_is_an_alarm_by_itself() -> None:
    """Rotation has found it; the alarm is about its session."""
    watch = Watch()
    assert watch.see(started(0), event(EventKind.REUSE_DETECTED, 60)) == ["reuse"]
    assert (watch.alarms[0].sid, watch.alarms[0].cause.sub) == ("s1", "alice")


def test_a_rule_says_a_thing_once_an_hour() -> None:
    """However long an attack goes on, and about each session by itself."""
    watch = Watch(two_places={"on": False})
    assert watch.see(*generations(12, 4, address=CAFE)) == ["follower"]
    assert watch.see(*generations(12, 4, start=2 * HOUR, address=CAFE)) == ["follower"]
    assert watch.see(*generations(5, 4, sid="s2", address=CAFE)) == ["follower"]


def test_every_rule_can_be_switched_off() -> None:
    """Each alone, and all at once."""
    events = generations(5, 4, address=CAFE)
    assert Watch(follower={"on": False}).see(*events) == []
    assert Watch(on=False).see(*events) == []
    assert Watch(moved={"on": False}).see(*events) == ["follower"]


def test_evidence_holds_no_address_and_no_secret() -> None:
    """What an alarm adds is counts, families and networks; the event names who and from where."""
    watch = Watch()
    watch.see(started(0), refreshed(1, user_agent=SCRIPT, address=CAFE))
    (alarm,) = watch.alarms
    told = alarm.event(())
    assert told.details["evidence"] == {
        "agent": "python-requests",
        "agents_before": ["Chrome/Windows"],
        "network": "62.9.9.0/24",
    }
    assert (told.kind, told.why, told.sid) == (EventKind.ANOMALY, "moved", "s1")
    assert (told.address, told.user_agent) == (CAFE, SCRIPT)


def test_events_of_the_detector_itself_are_nothing_to_it() -> None:
    """Nor are kinds that no rule asks for."""
    watch = Watch()
    kinds = set(EventKind) - {
        EventKind.SESSION_STARTED,
        EventKind.SESSION_REFRESHED,
        EventKind.REUSE_DETECTED,
        EventKind.LOGIN,
        EventKind.LOGIN_LIMITED,
    }
    assert watch.see(*(event(kind, 0) for kind in sorted(kinds))) == []
    assert watch.states.load(["s:s1"]) == {}


def test_an_idle_day_is_forgotten() -> None:
    """A session's state is gone a day after its last event."""
    watch = Watch()
    watch.see(*generations(2, 4, address=CAFE))
    assert watch.states.load(["s:s1"]) != {}
    watch.now += 2 * DAY
    assert watch.states.load(["s:s1"]) == {}
