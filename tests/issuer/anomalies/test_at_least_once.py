"""Events that are seen again count once, and nothing that was to be done is left undone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from harness.anomaly_events import CAFE, Watch, failed, refreshed, started

from issuer.anomalies import AnomalySettings, MemoryStates, open_detector, open_states
from issuer.anomalies.alarm import Alarm
from issuer.audit import Event, Recorded
from issuer.limits.digests import Digests


def lockstep(number: int) -> list[Event]:
    """So many generations, each with its parent again from elsewhere."""
    events = [started(0)]
    for each in range(1, number + 1):
        events.append(refreshed(each * 240))
        events.append(refreshed(each * 240 + 4, "resent", address=CAFE))
    return events


class Dying:
    """A responder that is killed by its first alarms, so many times."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.given: list[Alarm] = []

    def __call__(self, alarms: Sequence[Alarm]) -> None:
        self.given += alarms
        if self.left:
            self.left -= 1
            raise ConnectionError


def test_a_batch_that_comes_again_changes_nothing() -> None:
    """No count rises by it, and no alarm is given a second time."""
    watch = Watch()
    batch = watch.numbered(
        [*lockstep(2), *(failed(600 + each, address=CAFE) for each in range(14))]
    )
    watch.give(batch)
    names = ["s:s1", "everywhere"]
    kept = watch.states.load(names)
    for _ in range(5):
        watch.give(batch)
        watch.give(batch[3:])
    assert watch.alarms == []
    assert watch.states.load(names) == kept
    watch.give(watch.numbered([failed(700, address=CAFE)]))
    assert [alarm.rule for alarm in watch.alarms] == ["guessing"]


def test_an_alarm_whose_response_failed_is_given_again_and_is_the_same() -> None:
    """The same id, by which the log takes it once; after a success never again."""
    responder = Dying(2)
    states = MemoryStates()
    recorded = [Recorded(seq, event) for seq, event in enumerate(lockstep(4), 1)]

    def detector() -> object:
        return open_detector(AnomalySettings(), states, Digests("k").of, responder)

    for _ in range(2):
        with pytest.raises(ConnectionError):
            detector().consume(recorded)  # type: ignore[attr-defined]
    for _ in range(3):
        detector().consume(recorded)  # type: ignore[attr-defined]
    assert len(responder.given) == 3
    assert len({alarm.event(()).id for alarm in responder.given}) == 1
    assert len({alarm.seq for alarm in responder.given}) == 1


class Torn:
    """A store that dies after the first few records of each save."""

    def __init__(self, inner: MemoryStates, kept: int) -> None:
        self.inner, self.kept = inner, kept

    def load(self, names: object) -> dict[str, str]:
        return self.inner.load(names)  # type: ignore[arg-type]

    def save(self, records: dict[str, tuple[str, int]]) -> None:
        self.inner.save(dict(list(records.items())[: self.kept]))
        raise ConnectionError

    def close(self) -> None: ...


@pytest.mark.parametrize("kept", range(4))
def test_records_that_are_written_in_part_count_each_event_once(kept: int) -> None:
    """A process that dies while it writes leaves records of different ages; both go on rightly."""
    inner = MemoryStates()
    events = [Recorded(seq, event) for seq, event in enumerate(lockstep(2), 1)]
    events += [Recorded(90 + each, failed(600 + each, address=CAFE)) for each in range(14)]
    torn = Watch(Torn(inner, kept))  # type: ignore[arg-type]
    with pytest.raises(ConnectionError):
        torn.give(events)
    whole = Watch(inner)
    whole.give(events)
    assert torn.alarms == whole.alarms == []
    whole.give([Recorded(200, failed(700, address=CAFE))])
    assert [alarm.rule for alarm in whole.alarms] == ["guessing"]
    straight = Watch()
    straight.give(events)
    straight.give([Recorded(200, failed(700, address=CAFE))])
    names = ["s:s1", "everywhere"]
    assert inner.load(names) == straight.states.load(names)


def test_another_issuer_goes_on_where_one_stopped(redis_url: str) -> None:
    """The state is on Redis: processes may take turns at every event."""
    one, other = (Watch(open_states(redis_url, namespace="turns")) for _ in range(2))
    for number, recorded in enumerate(one.numbered(lockstep(3))):
        (one, other)[number % 2].give([recorded])
    assert [alarm.rule for alarm in (*one.alarms, *other.alarms)] == ["follower"]
    one.states.close()
    other.states.close()


def test_batches_of_any_size_come_to_the_same() -> None:
    """One by one, in sevens, or all at once."""
    found = []
    for size in (1, 7, 1000):
        watch = Watch()
        watch.see(*lockstep(10), at_a_time=size)
        found.append([(alarm.rule, alarm.seq, alarm.evidence) for alarm in watch.alarms])
    assert found[0] == found[1] == found[2] != []
