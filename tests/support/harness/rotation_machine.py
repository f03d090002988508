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
REFRESHES = st.sampled_from([0, 0, 1, 2, 4])
"""Ordinary ones, before something else happens."""
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

    Plain presentations and waits reach every corner, but rarely the deep ones; so what happens in
    life, such as a lost answer and its retries, is a move of its own.
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

    @initialize(idle=st.sampled_from([None, 600, 1800]))
    def begins(self, idle: int | None) -> None:
        self.log_in(SUBJECTS[0], idle, 43_200)

    @precondition(lambda self: len(self.families) < 8)
    @rule(
        sub=st.sampled_from(SUBJECTS),
        idle=st.sampled_from([None, 60, 1800]),
        absolute=st.sampled_from([90, 3600, 43_200]),
    )
    def logs_in(self, sub: str, idle: int | None, absolute: int) -> None:
        self.log_in(sub, idle, absolute)

    @rule(which=WHICH)
    def is_created_again(self, which: int) -> None:
        """A retry of the login's write finds what is there, whatever became of it since."""
        held = self.held(which)
        if not held.model.is_past(self.clock.ms):
            assert self.store.create(held.new) == held.record()

    @rule(sub=st.sampled_from(SUBJECTS))
    def lists_sessions(self, sub: str) -> None:
        self.check_index(sub)

    @rule(ms=st.sampled_from([1, 9000, 60_000]) | st.integers(1, 3 * 10**6))
    def time_passes(self, ms: int) -> None:
        self.clock.ms += ms

    @rule(
        which=WHICH,
        refreshes=REFRESHES,
        generation=st.sampled_from(["current", "current", "parent"]),
        moment=MOMENT,
        active_ago=AGO,
    )
    def presents(
        self,
        which: int,
        refreshes: int,
        generation: str,
        moment: tuple[str, int],
        active_ago: int | None,
    ) -> None:
        held = self.held(which)
        self.move_on(held, refreshes)
        self.wait_until(self.boundary(held, moment[0]), moment[1])
        self.present(held, generation, active_ago=active_ago)

    @rule(
        which=WHICH,
        generation=st.sampled_from(["current", "parent", "grandparent", "future"]),
        change=st.sampled_from([-1, 1]),
    )
    def comes_after_a_password_change(self, which: int, generation: str, change: int) -> None:
        """The account has another credential version now, or had when somebody read it."""
        self.present(self.held(which), generation, version_change=change)

    @rule(
        which=WHICH,
        refreshes=REFRESHES,
        generation=st.sampled_from(["grandparent", "older", "future"]),
    )
    def presents_what_no_client_should(self, which: int, refreshes: int, generation: str) -> None:
        held = self.held(which)
        self.move_on(held, refreshes)
        self.present(held, generation)

    @rule(
        which=WHICH,
        until=st.lists(st.sampled_from(["handed", "handed", "window"]), min_size=1, max_size=5),
        beside=BESIDE,
        active_ago=AGO,
    )
    def loses_answers(
        self, which: int, until: list[str], beside: int, active_ago: int | None
    ) -> None:
        """A refresh whose answer is lost, and its retries, whose answers are lost too."""
        held = self.held(which)
        self.move_on(held)
        for boundary in until:
            self.wait_until(self.boundary(held, boundary), beside)
            self.present(held, "parent", active_ago=active_ago)

    @rule(
        which=WHICH,
        retries=st.lists(st.sampled_from([1, 1, 1, 1, 2, 0]), min_size=1, max_size=6),
        pause=st.sampled_from([0, 1, 20_000]),
    )
    def is_followed(self, which: int, retries: list[int], pause: int) -> None:
        """A thief one generation behind, or a client that loses its first answer again and again.

        So many late retries in each generation, 0 for one in which nothing is lost.
        """
        held = self.held(which)
        for late in retries:
            self.move_on(held)
            for _ in range(late):
                self.wait_until(self.boundary(held, "handed"), pause)
                self.present(held, "parent")

    @rule(which=WHICH, beside=BESIDE)
    def comes_back_after_its_successor(self, which: int, beside: int) -> None:
        """The successor is used at once, which proves that its answer came."""
        held = self.held(which)
        self.move_on(held)
        self.present(held, "current")
        self.wait_until(self.boundary(held, "handed"), beside)
        self.present(held, "parent")

    @rule(
        which=WHICH,
        end=st.sampled_from(["idle", "absolute"]),
        beside=BESIDE,
        generation=st.sampled_from(["current", "parent"]),
    )
    def comes_at_the_end(self, which: int, end: str, beside: int, generation: str) -> None:
        held = self.held(which)
        self.wait_until(self.boundary(held, end), beside)
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

    def log_in(self, sub: str, idle: int | None, absolute: int) -> None:
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
        self.touched = held
        assert self.store.create(new) == held.record()

    def held(self, which: int) -> Held:
        self.touched = self.families[max(len(self.families) - 1 - which, 0)]
        return self.touched

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

    def wait_until(self, moment: int, beside: int) -> None:
        self.clock.ms = max(self.clock.ms, moment + beside)

    def move_on(self, held: Held, times: int = 1) -> None:
        """Refreshes of which nothing is lost."""
        for _ in range(times):
            self.wait_until(self.boundary(held, "handed"), 0)
            self.present(held, "current")

    def present(
        self,
        held: Held,
        generation: str,
        *,
        version_change: int = 0,
        active_ago: int | None = None,
    ) -> None:
        distance = {"future": 1, "current": 0, "parent": -1, "grandparent": -2, "older": -4}
        g = held.model.gen + distance[generation]
        if g < 1:
            return
        version = held.new.credential_version + version_change
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
    def what_was_touched_is_as_the_model_has_it(self) -> None:
        if self.families:
            self.check_record(self.touched)

    def teardown(self) -> None:
        """Nor has anything else changed."""
        for held in self.families:
            self.check_record(held)
        for sub in SUBJECTS:
            self.check_index(sub)

    def check_record(self, held: Held) -> None:
        """It is there as the model has it, unless it is past its end and forgotten."""
        got = self.store.get(held.new.sub, held.new.sid)
        if got is None:
            assert held.model.is_past(self.clock.ms)
        else:
            assert got == held.record()

    def check_index(self, sub: str) -> None:
        """The subject's live families are listed, oldest first, and nothing else."""
        own = [held for held in self.families if held.new.sub == sub]
        past = {held.new.sid for held in own if held.model.is_past(self.clock.ms)}
        live = [held.record() for held in own if held.model.status == Status.LIVE]
        listed = self.store.of_subject(sub)
        assert [family for family in listed if family.sid not in past] == [
            family for family in live if family.sid not in past
        ]
        assert {family.sid for family in listed} <= {family.sid for family in live}


def machine(open_store: OpenStore, windows: RotationRules) -> type[FamilyMachine]:
    """The machine for one store under one set of windows."""
    members = {"open_store": staticmethod(open_store), "windows": windows}
    return type("Machine", (FamilyMachine,), members)
