"""Drives a family store and the model of the six rules side by side, and compares everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from harness.millisecond_clock import MillisecondClock
from harness.rotation_model import ModelFamily
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from issuer.families import (
    Family,
    FamilyStore,
    Gone,
    NewFamily,
    RefreshReuseDetected,
    Repeated,
    Resent,
    RetriedLate,
    RolledBack,
    Rotated,
    RotationRules,
    Status,
)

OpenStore = Callable[[RotationRules, MillisecondClock], FamilyStore]

DEFAULT = RotationRules()
STRICT = RotationRules(reuse_interval=0, retry_window=0)
FINITE = RotationRules(reuse_interval=10, retry_window=45)

NAMES = {
    Rotated: "rotated",
    Repeated: "repeated",
    Resent: "resent",
    RetriedLate: "retried_late",
    RefreshReuseDetected: "reuse",
    RolledBack: "rolled_back",
    Gone: "gone",
}

SUBJECTS = ("ann", "bob@example.com")
WHICH = st.sampled_from([0, 0, 0, 1, 2, 3])
"""A family, counted from the newest."""
BESIDE = st.sampled_from([-1, 0, 0, 1])
"""Milliseconds from a boundary."""
MOMENT = st.tuples(st.sampled_from(["now", "now", "handed", "handed", "window"]), BESIDE)
AGO = (
    st.none()
    | st.none()
    | st.sampled_from([-5000, 0, 1, 9999, 10_000, 10_001])
    | st.integers(0, 10**7)
)
"""When the person was last active, in milliseconds before the request."""


@dataclass(slots=True)
class Held:
    """A family in both worlds."""

    new: NewFamily
    model: ModelFamily

    def record(self) -> Family:
        """The record that the store must hold."""
        new, model = self.new, self.model
        return Family(
            sub=new.sub,
            sid=new.sid,
            client_id=new.client_id,
            credential_version=new.credential_version,
            gen=model.gen,
            status=Status(model.status),
            auth_time=new.auth_time,
            amr=new.amr,
            scope=new.scope,
            idle=new.idle,
            last_active=model.active / 1000,
            last_refresh=model.refreshed / 1000,
            absolute_end=new.absolute_end,
            label=new.label,
            address=new.address,
            user_agent=new.user_agent,
        )


class FamilyMachine(RuleBasedStateMachine):
    """Several sessions of two people, their tokens of any generation, and time to the millisecond.

    Plain presentations and waits reach every corner, but rarely the deep ones; so a lost answer
    and a spell of ordinary refreshes are moves of their own.
    """

    open_store: ClassVar[OpenStore]
    windows: ClassVar[RotationRules]

    def __init__(self) -> None:
        super().__init__()
        # An hour ahead, so that a machine that stalls does not reach an end by real time.
        self.clock = MillisecondClock(ahead=3600)
        self.store = type(self).open_store(self.windows, self.clock)
        self.families: list[Held] = []
        self.reuse_interval = round(self.windows.reuse_interval * 1000)
        window = self.windows.retry_window
        self.retry_window = None if window is None else round(window * 1000)

    # --- moves -------------------------------------------------------------------------------

    @initialize(idle=st.sampled_from([None, 1800]))
    def begins(self, idle: int | None) -> None:
        self.logs_in(SUBJECTS[0], idle, 43_200)

    @precondition(lambda self: len(self.families) < 4)
    @rule(
        sub=st.sampled_from(SUBJECTS),
        idle=st.sampled_from([None, 60, 1800]),
        absolute=st.sampled_from([90, 3600, 43_200]),
    )
    def logs_in(self, sub: str, idle: int | None, absolute: int) -> None:
        number = len(self.families)
        new = NewFamily(
            sub=sub,
            sid=f"sid-{number}",
            client_id="web",
            credential_version=7 + number,
            auth_time=self.clock.ms // 1000 + number,
            amr=("pwd", "otp")[: number % 3],
            scope="read write",
            idle=idle,
            absolute_end=self.clock.ms // 1000 + absolute,
            label="Ann's \N{WHITE SMILING FACE} phone",
            address="2001:db8::1",
            user_agent="",
        )
        model = ModelFamily(
            version=new.credential_version,
            idle=None if idle is None else idle * 1000,
            absolute_end=new.absolute_end * 1000,
            reuse_interval=self.reuse_interval,
            retry_window=self.retry_window,
            made=self.clock.ms,
        )
        held = Held(new, model)
        self.families.append(held)
        assert self.store.create(new) == held.record()

    @rule(which=WHICH)
    def is_created_again(self, which: int) -> None:
        """A retry of the login's write finds what is there, whatever became of it since."""
        held = self.held(which)
        if not held.model.is_past(self.clock.ms):
            assert self.store.create(held.new) == held.record()

    @rule(ms=st.sampled_from([1, 9000, 60_000]) | st.integers(1, 3 * 10**6))
    def time_passes(self, ms: int) -> None:
        self.clock.ms += ms

    @rule(
        which=WHICH,
        generation=st.sampled_from(["current", "current", "parent"]),
        moment=MOMENT,
        right_version=st.sampled_from([True] * 7 + [False]),
        active_ago=AGO,
    )
    def presents(
        self,
        which: int,
        generation: str,
        moment: tuple[str, int],
        right_version: bool,
        active_ago: int | None,
    ) -> None:
        held = self.held(which)
        self.waits_until(self.boundary(held, moment[0]), moment[1])
        self.present(held, generation, right_version=right_version, active_ago=active_ago)

    @rule(which=WHICH, generation=st.sampled_from(["grandparent", "older", "future"]))
    def presents_what_no_client_should(self, which: int, generation: str) -> None:
        self.present(self.held(which), generation)

    @rule(
        which=WHICH,
        retries=st.integers(1, 5),
        beside=BESIDE,
        pause=st.sampled_from([0, 1, 20_000]),
        active_ago=AGO,
    )
    def loses_answers(
        self, which: int, retries: int, beside: int, pause: int, active_ago: int | None
    ) -> None:
        """A refresh whose answer is lost, and its late retries, whose answers are lost too."""
        held = self.held(which)
        self.moves_on(which, 1, active_ago)
        for _ in range(retries):
            self.waits_until(self.boundary(held, "handed"), max(beside, 0) + pause)
            self.present(held, "parent", active_ago=active_ago)

    @rule(which=WHICH, times=st.integers(1, 3), active_ago=AGO)
    def moves_on(self, which: int, times: int, active_ago: int | None) -> None:
        """Refreshes of which nothing is lost."""
        held = self.held(which)
        for _ in range(times):
            self.waits_until(self.boundary(held, "handed"), 0)
            self.present(held, "current", active_ago=active_ago)

    @rule(
        which=WHICH,
        end=st.sampled_from(["idle", "absolute"]),
        beside=BESIDE,
        generation=st.sampled_from(["current", "parent"]),
    )
    def comes_at_the_end(self, which: int, end: str, beside: int, generation: str) -> None:
        held = self.held(which)
        self.waits_until(self.boundary(held, end), beside)
        self.present(held, generation)

    @rule(which=WHICH, status=st.sampled_from(Status))
    def is_marked(self, which: int, status: Status) -> None:
        held = self.held(which)
        held.model.mark(status)
        self.store.mark(held.new.sub, held.new.sid, status)

    @rule(which=WHICH, sub=st.sampled_from([*SUBJECTS, "nobody"]), status=st.sampled_from(Status))
    def touches_what_is_not_there(self, which: int, sub: str, status: Status) -> None:
        """A session that never was, or that is somebody else's."""
        held = self.held(which)
        sid = "sid-9" if sub == held.new.sub else held.new.sid
        if any((held.new.sub, held.new.sid) == (sub, sid) for held in self.families):
            return
        self.store.mark(sub, sid, status)
        outcome = self.store.rotate(sub, sid, 1, credential_version=7)
        assert isinstance(outcome, Gone)
        assert (outcome.reason, outcome.family) == ("unknown", None)
        assert self.store.get(sub, sid) is None

    # --- steps -------------------------------------------------------------------------------

    def held(self, which: int) -> Held:
        return self.families[max(len(self.families) - 1 - which, 0)]

    def boundary(self, held: Held, name: str) -> int:
        """The moment from which something no longer holds."""
        model = held.model
        window = model.reuse_interval if model.retry_window is None else model.retry_window
        return {
            "now": self.clock.ms,
            "handed": model.handed + model.reuse_interval,
            "window": model.started + window,
            "idle": model.idle_end or model.absolute_end,
            "absolute": model.absolute_end,
        }[name]

    def waits_until(self, moment: int, beside: int) -> None:
        self.clock.ms = max(self.clock.ms, moment + beside)

    def present(
        self,
        held: Held,
        generation: str,
        *,
        right_version: bool = True,
        active_ago: int | None = None,
    ) -> None:
        distance = {"future": 1, "current": 0, "parent": -1, "grandparent": -2, "older": -4}
        g = held.model.gen + distance[generation]
        if g < 1:
            return
        version = held.new.credential_version + (0 if right_version else 1)
        verdict = held.model.present(g, version=version, now=self.clock.ms, active_ago=active_ago)
        outcome = self.store.rotate(
            held.new.sub,
            held.new.sid,
            g,
            credential_version=version,
            active_ago=None if active_ago is None else active_ago / 1000 + 0.0005,
        )
        assert NAMES[type(outcome)] == verdict.name
        if isinstance(outcome, Gone):
            assert outcome.reason in verdict.reasons
        if outcome.family is None:
            assert held.model.is_past(self.clock.ms)
        else:
            assert outcome.family == held.record()

    # --- what holds at every moment ----------------------------------------------------------

    @invariant()
    def records_are_as_the_model_has_them(self) -> None:
        """What is past its end may be forgotten."""
        for held in self.families:
            got = self.store.get(held.new.sub, held.new.sid)
            if got is None:
                assert held.model.is_past(self.clock.ms)
            else:
                assert got == held.record()

    @invariant()
    def a_subject_has_its_live_families(self) -> None:
        """All of them, nobody else's, oldest first."""
        for sub in SUBJECTS:
            own = [held for held in self.families if held.new.sub == sub]
            past = {held.new.sid for held in own if held.model.is_past(self.clock.ms)}
            live = [held.record() for held in own if held.model.status == Status.LIVE]
            got = self.store.of_subject(sub)
            assert [family for family in got if family.sid not in past] == [
                family for family in live if family.sid not in past
            ]
            assert {family.sid for family in got} <= {family.sid for family in live}


def machine(open_store: OpenStore, windows: RotationRules) -> type[FamilyMachine]:
    """The machine for one store under one set of windows."""
    members = {"open_store": staticmethod(open_store), "windows": windows}
    return type("Machine", (FamilyMachine,), members)
