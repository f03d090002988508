"""What the rules about an account, and about many, see and let be."""

from __future__ import annotations

from typing import Any

import pytest
from harness.anomaly_events import (
    CAFE,
    CHROME,
    DAY,
    FAR,
    FIREFOX,
    HOME,
    HOUR,
    MINUTE,
    SCRIPT,
    Watch,
    event,
    failed,
    refreshed,
    started,
    succeeded,
)

from issuer.anomalies.rules import stuffing
from issuer.audit import EventKind, Outcome


def test_a_device_is_new_where_its_agent_is() -> None:
    """Not the account's first one, nor a known one on another network, nor after it was seen."""
    watch = Watch()
    assert watch.see(started(0)) == []
    assert watch.see(started(DAY, sid="s2", address=CAFE)) == []
    assert watch.see(started(2 * DAY, sid="s3", user_agent=FIREFOX)) == ["new_device"]
    assert watch.alarms[0].evidence["new_network"] is False
    assert watch.see(started(3 * DAY, sid="s4", user_agent=FIREFOX)) == []
    assert watch.see(started(3 * DAY, sid="s5", sub="bob", user_agent=FIREFOX)) == []


def test_a_device_is_new_again_after_three_months() -> None:
    """And the evidence tells whether the network is new."""
    watch = Watch()
    watch.see(started(0), started(0, sid="s2", user_agent=FIREFOX))
    watch.see(*(started(day * DAY, sid=f"d{day}") for day in range(1, 92)))
    late = started(92 * DAY, sid="s3", user_agent=FIREFOX, address=CAFE)
    assert watch.see(late) == ["new_device"]
    assert watch.alarms[-1].evidence["new_network"] is True


def at_home(logins: int = 6) -> list[Any]:
    """A history, and a session that goes on at home."""
    return [started(day * DAY, sid="home") for day in range(logins)] + [
        refreshed((logins - 1) * DAY + minute * MINUTE, sid="home") for minute in (5, 10)
    ]


NOW = 5 * DAY + 12 * MINUTE


@pytest.mark.parametrize("agent", [CHROME, SCRIPT])
def test_two_far_ends_at_once_are_impossible(agent: str) -> None:
    """The alarm comes when the one at home goes on, and is about the session that is far away."""
    watch = Watch(new_device={"on": False})
    watch.see(*at_home())
    assert watch.see(started(NOW, sid="far", address=FAR, user_agent=agent)) == []
    assert watch.see(refreshed(NOW + 5 * MINUTE, sid="home")) == ["impossible_travel"]
    (alarm,) = watch.alarms
    assert alarm.sid == "far"
    assert alarm.event(()).details["evidence"]["place"] == "arin"


@pytest.mark.parametrize(
    ("why", "login", "after", "history"),
    [
        ("a VPN", {}, {"address": FAR}, 6),
        ("nobody at home any more", {}, {"at": NOW + HOUR}, 6),
        ("the traveller's own computer", {"user_agent": FIREFOX}, {}, 6),
        ("the same part of the world", {"address": CAFE}, {}, 6),
        ("nobody knows where", {"address": "10.1.2.3"}, {}, 6),
        ("no history", {}, {}, 3),
    ],
)
def test_what_a_journey_may_look_like(
    why: str, login: dict[str, Any], after: dict[str, Any], history: int
) -> None:
    """None of these is two devices at two ends of the world."""
    watch = Watch(new_device={"on": False})
    watch.see(started(0, sid="old", user_agent=FIREFOX), *at_home(6)[6 - history :])
    watch.see(started(NOW, **{"sid": "far", "address": FAR, **login}))
    given = {"sid": "home", **after}
    assert watch.see(refreshed(given.pop("at", NOW + 5 * MINUTE), **given)) == [], why


def test_a_phone_and_a_computer_of_one_maker_are_two_devices() -> None:
    """The phone is at home while its owner's computer, long known, is behind a VPN far away."""
    apple = "Mozilla/5.0 ({}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 {}Safari/604.1"
    phone = apple.format("iPhone; CPU iPhone OS 17_5 like Mac OS X", "Mobile/15E148 ")
    computer = apple.format("Macintosh; Intel Mac OS X 10_15_7", "")
    for far, alarms in ((computer, []), (phone, ["impossible_travel"])):
        watch = Watch(new_device={"on": False})
        watch.see(*(started(day * DAY, sid="home", user_agent=phone) for day in range(6)))
        watch.see(started(5 * DAY + MINUTE, sid="desk", user_agent=computer))
        watch.see(refreshed(NOW - MINUTE, sid="home", user_agent=phone))
        # What the account's computer was last seen at is too long ago to be a second end.
        late = NOW + 40 * MINUTE
        watch.see(refreshed(late - MINUTE, sid="home", user_agent=phone))
        watch.see(started(late, sid="far", address=FAR, user_agent=far))
        assert watch.see(refreshed(late + MINUTE, sid="home", user_agent=phone)) == alarms


def test_who_has_been_there_is_no_stranger() -> None:
    """A part of the world in which the account has been before is its own."""
    watch = Watch(new_device={"on": False})
    watch.see(started(0, sid="holiday", address=FAR), *at_home())
    watch.see(started(NOW, sid="far", address=FAR))
    assert watch.see(refreshed(NOW + MINUTE, sid="home")) == []


@pytest.mark.parametrize(
    ("times", "found"),
    [
        ([minute * 4 * MINUTE for minute in range(14)], False),
        ([minute * 4 * MINUTE for minute in range(15)], True),
        ([hour * 40 * MINUTE for hour in range(35)], False),
        ([hour * 36 * MINUTE for hour in range(40)], True),
    ],
)
def test_guesses_from_strange_networks(times: list[float], found: bool) -> None:
    """Fifteen in an hour, or forty in a day, from however many networks."""
    events = [failed(at, address=f"62.7.{number}.1") for number, at in enumerate(times)]
    assert ("guessing" in Watch().see(*events)) is found


def test_a_password_is_guessed_behind_a_login_too() -> None:
    """With a stolen token, where the current password is asked for."""
    refused = [
        event(
            EventKind.PASSWORD_REFUSED,
            each * MINUTE,
            sid=None,
            address=CAFE,
            why="wrong_password",
            outcome=Outcome.FAILURE,
        )
        for each in range(15)
    ]
    assert Watch().see(*refused) == ["guessing"]


def test_an_owner_who_forgets_is_nobody_who_guesses() -> None:
    """What fails where the account has logged in is not counted, nor is what succeeds."""
    watch = Watch()
    watch.see(started(0))
    assert watch.see(*(failed(each, address=HOME) for each in range(50))) == []
    assert watch.see(*(succeeded(60 + each, address=CAFE) for each in range(50))) == []


def test_turned_away_and_summed_up_counts_too() -> None:
    """The log tells the number of those that it does not write down each."""
    limited = event(
        EventKind.LOGIN_LIMITED,
        0,
        sid=None,
        address=CAFE,
        outcome=Outcome.FAILURE,
        details={"more": 14},
    )
    assert Watch().see(limited) == ["guessing"]


def names(number: int, **fields: Any) -> list[Any]:
    """So many names that nobody has, each tried once."""
    return [
        failed(each * 2, sub=None, details={"account": f"name{each}"}, **fields)
        for each in range(number)
    ]


def test_many_accounts_from_one_network_are_stuffing() -> None:
    """Thirty that fail and do not succeed, whether or not there is such an account."""
    assert Watch().see(*names(29, address=CAFE)) == []
    watch = Watch()
    assert watch.see(*names(40, address=CAFE), at_a_time=7) == ["stuffing"]
    assert watch.alarms[0].evidence == {"accounts": 30, "network": "62.9.9.0/24"}
    assert watch.alarms[0].about_accounts
    assert watch.alarms[0].event(()).sub is None


def test_an_office_on_a_monday_is_no_stuffing() -> None:
    """Two hundred people mistype and then have it right, behind one address."""
    events = []
    for each in range(200):
        sub = f"person{each}"
        events += [failed(each * 2, sub=sub), succeeded(each * 2 + 20, sub=sub, sid=f"s{each}")]
    events.sort(key=lambda one: one.time)
    assert Watch().see(*events) == []


def test_many_networks_at_once_are_stuffing() -> None:
    """Two hundred accounts within ten minutes, each from a network of its own."""
    events = [
        failed(each / 2, sub=None, details={"account": f"n{each}"}, address=f"62.{each}.1.1")
        for each in range(250)
    ]
    watch = Watch()
    assert watch.see(*events, at_a_time=50) == ["stuffing"]
    assert "network" not in watch.alarms[0].evidence


def test_a_busy_hour_is_no_stuffing() -> None:
    """As many that fail as a third of those that succeed are a large service's mornings."""
    events = []
    for each in range(900):
        address = f"62.{each % 250}.{each // 250}.1"
        events.append(succeeded(each / 2, sub=f"p{each}", sid=f"s{each}", address=address))
        if each % 3 == 0:
            events.append(failed(each / 2, sub=f"q{each}", address=address))
    assert "stuffing" not in Watch().see(*events, at_a_time=100)


def test_a_sketch_counts_to_a_few_in_a_hundred() -> None:
    """Up to some thousands of accounts, in a fixed size."""
    for number in (10, 500, 5000):
        sketch = stuffing._opened("")
        for each in range(number):
            sketch.set(f"account {each}")
            sketch.set(f"account {each}")
        assert sketch.count() == pytest.approx(number, rel=0.04, abs=1)
        assert len(sketch.packed()) == len(sketch.packed()) <= 2 * stuffing.BITS // 8
