"""Mistakes put into rules and detector: what is played to them comes out differently each time."""

from __future__ import annotations

import importlib
import inspect
import sys
from functools import cache
from types import ModuleType

import pytest
from harness.anomaly_events import (
    CAFE,
    DAY,
    FAR,
    FIREFOX,
    HOME,
    HOUR,
    MINUTE,
    OFFICE,
    SCRIPT,
    Watch,
    event,
    failed,
    refreshed,
    started,
    succeeded,
)
from harness.family_mutants import changed

from issuer.audit import Event, EventKind, Recorded

PERIOD = 240.0
NOW = 5 * DAY + 12 * MINUTE

MUTANTS = {
    "a row never ends": ("rules.follower", 'if not state.get("seen"):', "if False:"),
    "each resend counts": ("rules.follower", "if not state.get(once):", "if True:"),
    "any delay counts": ("rules.follower", "delay < self._settings.delay", "delay < 0"),
    "another agent must wait": ("rules.follower", " and not other_agent", ""),
    "late retries are nothing": ("rules.follower", '"resent", "retried_late"', '"resent"'),
    "tabs that repeat follow": ("rules.follower", '"resent", "retried_late"', '"repeated"'),
    "elsewhere is here": ("rules.follower", "other_agent or place !=", "other_agent and place !="),
    "any pair is the same": ("rules.follower", 'if pair != state.get("pair"):', "if False:"),
    "who stays takes turns": ("rules.two_places", "and value != last else", "else"),
    "any change is a turn": ("rules.two_places", "value == before and value", "value"),
    "either version is another place": ("rules.two_places", '"6" if sighting.sixth', '"4" if 1'),
    "agents as rarely as networks": ("rules.two_places", "agents >= self._agents", "agents >= 16"),
    "a network alone moves": ("rules.moved", "sighting.agent not in agents and", ""),
    "an agent alone moves": ("rules.moved", "and sighting.place not in places", ""),
    "the first sighting moves": ("rules.moved", "bool(agents) and", ""),
    "a bucket without a leak": ("rules.refresh_rate", "- gone, 0.0)", ", 0.0)"),
    "a bucket that is never full": ("rules.refresh_rate", "level < self._burst", "True"),
    "the first device is new": ("rules.new_device", "bool(known) and (last", "(last"),
    "old devices are known for ever": ("rules.new_device", "self.lifetime)", "1e12)"),
    "a device is new each time": ("rules.new_device", '"d", sighting.agent', '"d", ""'),
    "no end at home is asked for": ("rules.impossible_travel", "if sid != other:", "if False:"),
    "a VPN is a journey": ("rules.impossible_travel", "not self._places.apart(", "0 and bool("),
    "everybody has a history": ("rules.impossible_travel", "<= self._logins or", "< 0 or"),
    "nobody has been there": ("rules.impossible_travel", "or self._been_near(here, state)", ""),
    "any known device": ("rules.impossible_travel", "(known and device != its_device)", "0"),
    "however long ago": ("rules.impossible_travel", "seconds > self._within or", "0 or"),
    "however late": ("rules.impossible_travel", "if seconds > self._within:", "if False:"),
    "the alarm is about the owner": ("rules.impossible_travel", '"sid": arrived,', ""),
    "an owner guesses": ("rules.guessing", " or sighting.familiar", ""),
    "right ones are guesses": ("rules.guessing", "not sighting.failed or", ""),
    "a sum is one": ("rules.guessing", "1 + sighting.more", "1"),
    "no day": ("rules.guessing", "and len(times) < self._day", ""),
    "an hour is a day": ("rules.guessing", "now - time < HOUR", "now - time < DAY"),
    "who succeeds still fails": ("rules.stuffing", "failing.pop(account, None)", "pass"),
    "failures are kept": ("rules.stuffing", "if now - since < WINDOW", ""),
    "each failure is an account": (
        "rules.stuffing",
        "account = sighting.account or sighting.event.id",
        "account = sighting.event.id",
    ),
    "a service's size is nothing": ("rules.stuffing", "or only_failed * 2 < good", ""),
    "windows last": ("rules.stuffing", 'if window > state.get("w", -1):', 'if "w" not in state:'),
    "an event counts again": ("detector", "record.seq >= sighting.seq or", ""),
    "no event but the first": ("detector", "record.seq = sighting.seq", "record.seq = 1 << 60"),
    "a thing is said each time": ("detector", "< rule.quiet", "< 0"),
    "a thing is said once": ("detector", "< rule.quiet", "< 1e12"),
    "no network is familiar": ("detector", 'record.familiar, "p"', '{}, "p"'),
    "a network is familiar for ever": ("detector", "time - seen < FAMILIAR_FOR", "time > seen"),
    "nothing is saved": ("detector", "self._states.save(records.changed())", "pass"),
    "all of it is unread": ("detector", 'kept.get("v") == FORMAT', "False"),
}  # fmt: skip

Told = list[tuple[str, int, str]]


def generations(number: int, delay: float, why: str = "resent", **second: str) -> list[Event]:
    events = []
    for each in range(number):
        events.append(refreshed(each * PERIOD))
        events.append(refreshed(each * PERIOD + delay, why, **second))
    return events


def in_turn(number: int, *values: dict[str, str]) -> list[Event]:
    return [refreshed(each * PERIOD, **values[each % len(values)]) for each in range(number)]


def journey(*, old: list[Event] | None = None, home: float = 5, **login: str) -> list[Event]:
    """A history, a login far away, and what goes on at home so many minutes later."""
    days = [started(day * DAY, sid="home") for day in range(6)]
    before = refreshed(5 * DAY + 10 * MINUTE, sid="home")
    far = started(NOW, **{"sid": "far", "address": FAR, **login})
    return [*(old or []), *days, before, far, refreshed(NOW + home * MINUTE, sid="home")]


@cache
def scenarios() -> dict[str, list[Event]]:
    """What is played, by its name."""
    names = [failed(n, sub=None, details={"account": f"n{n}"}, address=CAFE) for n in range(45)]
    slowly = [
        failed(n * 60, sub=None, details={"account": f"n{n}"}, address=CAFE) for n in range(45)
    ]
    settled = [failed(n, sub=f"p{n % 50}", address=CAFE) for n in range(100)]
    settled = [e for n, f in enumerate(settled) for e in (f, succeeded(n, sub=f.sub, address=CAFE))]
    wide = [failed(n / 2, sub=f"q{n}", address=f"62.{n % 250}.1.1") for n in range(320)]
    crowd = [succeeded(n / 8, sub=f"r{n}", address=f"62.{n % 250}.2.1") for n in range(900)]
    wider = [failed(n * 12, sub=f"q{n}", address=f"62.{n % 250}.1.1") for n in range(320)]
    fox, later = (started(at * DAY, user_agent=FIREFOX) for at in (0, 92))
    return {
        "lockstep": generations(9, 4),
        "lockstep for long": generations(12, 4),
        "lockstep twice": [*generations(9, 3), refreshed(HOUR), refreshed(HOUR + 3, "resent")],
        "late": generations(9, 12, "retried_late"),
        "repeated": generations(9, 4, "repeated"),
        "at his heels": generations(9, 1),
        "another agent": generations(4, 1, user_agent=FIREFOX),
        "another place": generations(4, 4, address=CAFE),
        "from a pool": [each for n in range(4) for each in (
            refreshed(n * PERIOD), refreshed(n * PERIOD + 4, "resent", address=f"62.{n}.8.8"))],
        "with gaps": [*generations(7, 4), refreshed(HOUR), *(
            refreshed(HOUR + PERIOD * n + d, "rotated" if not d else "resent")
            for n in range(1, 4) for d in (0, 4))],
        "many resends": [refreshed(0), *(refreshed(3 + n / 2, "resent") for n in range(12))],
        "two agents": in_turn(9, {}, {"user_agent": FIREFOX}),
        "two networks": in_turn(19, {}, {"address": CAFE}),
        "nearly": in_turn(17, {}, {"address": CAFE}),
        "three networks": in_turn(30, {}, {"address": CAFE}, {"address": OFFICE}),
        "both versions": in_turn(30, {}, {"address": "2a02:1::1"}),
        "in pairs": in_turn(40, {}, {}, {"address": CAFE}, {"address": CAFE}),
        "one place": in_turn(30, {}),
        "moved": [started(0), refreshed(9, user_agent=SCRIPT, address=CAFE)],
        "only the agent": [started(0), refreshed(9, user_agent=SCRIPT)],
        "only the network": [started(0), refreshed(9, address=CAFE)],
        "fast": [refreshed(n / 2, "repeated") for n in range(200)],
        "not so fast": [refreshed(n * 4, "repeated") for n in range(400)],
        "a new device": [started(0), *(started(9 * n, user_agent=FIREFOX) for n in (1, 2))],
        "an old device": [fox, *(started(n * 30 * DAY) for n in range(4)), later],
        "far": journey(),
        "far, with another": journey(user_agent=SCRIPT),
        "far, with one's own": journey(old=[started(0, sid="o", user_agent=FIREFOX)],
                                       user_agent=FIREFOX),
        "far, before": journey(old=[started(0, sid="old", address=FAR)]),
        "far, later": journey(home=40),
        "far, alone": [*journey()[:-1], refreshed(NOW + 60, sid="far", address=FAR)],
        "far, together": [*journey()[:-1], refreshed(NOW + 60, sid="home", address=FAR)],
        "far, and a third": [*journey()[:-1], refreshed(NOW + 60, sid="third")],
        "far, soon": journey()[3:],
        "far, nobody": [started(d * DAY, sid="home") for d in range(5)] + [
            started(5 * DAY, sid="far", address=FAR), refreshed(5 * DAY + 60, sid="home")],
        "guesses": [failed(n * 60, address=CAFE) for n in range(20)],
        "at home": [started(0), *(failed(n * 60) for n in range(20))],
        "at home, later": [started(0), *(failed(95 * DAY + n, sub="alice") for n in range(20))],
        "right ones": [succeeded(n * 60, address=CAFE) for n in range(20)],
        "slow guesses": [failed(n * 35 * MINUTE, address=CAFE) for n in range(41)],
        "slower": [failed(n * 50 * MINUTE, address=CAFE) for n in range(30)],
        "a sum": [event(EventKind.LOGIN_LIMITED, 0, sid=None, address=CAFE, details={"more": 20})],
        "names": names,
        "names, slowly": slowly,
        "settled": settled,
        "wide": wide,
        "wide in a crowd": sorted([*wide, *crowd], key=lambda each: each.time),
        "wide, slowly": wider,
        "the same name": [failed(n, sub="one", address=HOME) for n in range(40)],
    }  # fmt: skip


def play(name: str) -> Told:
    """The alarms of a scenario, given in pieces, some of them twice."""
    watch = Watch()
    recorded = [Recorded(seq, each) for seq, each in enumerate(scenarios()[name], 1)]
    for first in range(0, len(recorded), 9):
        watch.give(recorded[first : first + 9])
        watch.give(recorded[first : first + 5])
    return [(each.rule, each.seq, str(each.sid)) for each in watch.alarms]


def put_in(patch: pytest.MonkeyPatch, name: str, change: tuple[str, str]) -> None:
    """A changed copy of a module, where the detector is opened from."""
    original = importlib.import_module(f"issuer.anomalies.{name}")
    module = ModuleType(f"{original.__name__}_mutant")
    module.__package__ = original.__package__
    patch.setitem(sys.modules, module.__name__, module)
    source = changed(inspect.getsource(original), change)
    exec(compile(source, f"<mutant of {name}>", "exec"), module.__dict__)
    for user in ("opening", "rules.every"):
        place = importlib.import_module(f"issuer.anomalies.{user}")
        for taken, what in list(vars(place).items()):
            if getattr(what, "__module__", None) == original.__name__:
                patch.setattr(place, taken, module.__dict__[taken])


def test_each_mistake_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The play comes out the same without a mistake, and otherwise with each."""
    expected = {name: play(name) for name in scenarios()}
    unnoticed = []
    for name, (module, old, new) in MUTANTS.items():
        with monkeypatch.context() as patch:
            put_in(patch, module, (old, new))
            if all(play(scenario) == told for scenario, told in expected.items()):
                unnoticed.append(name)
    assert unnoticed == []
    assert all(play(scenario) == told for scenario, told in expected.items())
