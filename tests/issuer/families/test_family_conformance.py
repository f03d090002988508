"""What every family store promises, by the stories that the rules of rotation were made for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness.millisecond_clock import MillisecondClock
from harness.rotation_machine import DEFAULT, FINITE, STRICT, OpenStore

from issuer.families import (
    Elevation,
    Family,
    Gone,
    NewFamily,
    Reason,
    RefreshReuseDetected,
    Repeated,
    Resent,
    RetriedLate,
    RolledBack,
    Rotated,
    RotationOutcome,
    RotationRules,
    Status,
)

MINUTE, DAY = 60.0, 86_400.0
MILLISECOND = 0.001
VERSION = 3


class Session:
    """One session in one store, and the clock of both."""

    def __init__(self, open_store: OpenStore, rules: RotationRules) -> None:
        self.clock = MillisecondClock()
        self.store = open_store(rules, self.clock)
        self.family = self.log_in("one")

    def log_in(
        self,
        sid: str,
        *,
        sub: str = "ann",
        idle: int | None = None,
        absolute: float = 30 * DAY,
        elevation: Elevation | None = None,
    ) -> Family:
        now = self.clock.ms // 1000
        return self.store.create(
            NewFamily(
                sub=sub,
                sid=sid,
                client_id="web",
                credential_version=VERSION,
                auth_time=now,
                amr=("pwd", "otp"),
                scope="read write",
                idle=idle,
                absolute_end=now + int(absolute),
                label="phone",
                address="192.0.2.7",
                user_agent="Browser/1.0",
                elevation=elevation,
            )
        )

    def present(
        self,
        gen: int,
        *,
        sid: str = "one",
        version: int = VERSION,
        active_ago: float | None = None,
    ) -> RotationOutcome:
        return self.store.rotate("ann", sid, gen, credential_version=version, active_ago=active_ago)

    def refresh(self, gen: int, *, sid: str = "one") -> None:
        """An ordinary refresh, some minutes after the last."""
        self.clock.wait(5 * MINUTE)
        assert given(self.present(gen, sid=sid)) == (Rotated, gen + 1)

    def get(self, sid: str = "one") -> Family | None:
        return self.store.get("ann", sid)

    def status(self) -> Status:
        family = self.get()
        assert family is not None
        return family.status


def given(outcome: RotationOutcome) -> tuple[type, int]:
    """The outcome's type and the record's generation."""
    assert outcome.family is not None
    return type(outcome), outcome.family.gen


def refused(outcome: RotationOutcome) -> Reason:
    assert isinstance(outcome, Gone)
    return outcome.reason


StartSession = Callable[..., Session]


@pytest.fixture
def start(open_store: OpenStore) -> StartSession:
    """Starts a session at generation 1."""

    def started(rules: RotationRules = DEFAULT) -> Session:
        return Session(open_store, rules)

    return started


# --- lost answers --------------------------------------------------------------------------------


def test_a_lost_answer_retried_a_minute_later_works(start: StartSession) -> None:
    """The retry gets the successor that the lost answer held, and the session goes on from it."""
    session = start()
    session.refresh(1)
    session.clock.wait(MINUTE)
    assert given(session.present(1)) == (RetriedLate, 2)
    session.refresh(2)


def test_a_lost_answer_retried_at_once_works(start: StartSession) -> None:
    """A resend within the reuse interval gets the same successor, to the last millisecond."""
    session = start()
    session.refresh(1)
    session.clock.wait(DEFAULT.reuse_interval - MILLISECOND)
    assert given(session.present(1)) == (Resent, 2)
    session.clock.wait(DEFAULT.reuse_interval)
    assert given(session.present(1)) == (RetriedLate, 2)


def test_five_answers_lost_to_one_refresh_leave_the_session_alive(start: StartSession) -> None:
    """Late retries of one generation are free after the first."""
    session = start()
    session.refresh(1)
    for _ in range(5):
        session.clock.wait(MINUTE)
        assert given(session.present(1)) == (RetriedLate, 2)
    session.refresh(2)
    session.refresh(3)


def test_a_client_that_loses_answers_now_and_then_is_never_taken_for_a_thief(
    start: StartSession,
) -> None:
    """A generation without a late retry starts the count again."""
    session = start()
    gen = 1
    for _ in range(3):
        for late in (True, True, True, False):
            session.refresh(gen)
            session.clock.wait(MINUTE)
            if late:
                assert given(session.present(gen)) == (RetriedLate, gen + 1)
            gen += 1


def test_a_lost_answer_is_forgiven_until_the_retry_window_is_over(start: StartSession) -> None:
    """The window counts from the rotation, whatever was retried since, to the millisecond."""
    session = start(FINITE)
    assert FINITE.retry_window is not None
    session.refresh(1)
    session.clock.wait(FINITE.retry_window / 2)
    assert given(session.present(1)) == (RetriedLate, 2)
    session.clock.wait(FINITE.retry_window / 2 - MILLISECOND)
    assert given(session.present(1)) == (RetriedLate, 2)
    session.clock.wait(FINITE.reuse_interval)
    assert given(session.present(1)) == (RefreshReuseDetected, 2)


def test_a_lost_answer_is_not_forgiven_at_the_end_of_the_retry_window(start: StartSession) -> None:
    """Exactly then it is reuse."""
    session = start(FINITE)
    assert FINITE.retry_window is not None
    session.refresh(1)
    session.clock.wait(FINITE.retry_window)
    assert given(session.present(1)) == (RefreshReuseDetected, 2)


# --- tabs ----------------------------------------------------------------------------------------


def test_twelve_tabs_do_not_fork_the_family(start: StartSession) -> None:
    """All that ask with one token within the interval get one successor; one of them made it."""
    session = start()
    session.clock.wait(DAY)
    answers = []
    for _ in range(12):
        answers.append(given(session.present(1)))
        session.clock.wait(0.5)
    assert answers == [(Rotated, 2)] + [(Resent, 2)] * 11


def test_tabs_that_have_the_successor_already_do_not_run_ahead(start: StartSession) -> None:
    """A generation just handed out is handed out again, so that a slow tab is its parent still."""
    session = start()
    session.refresh(1)
    session.clock.wait(DEFAULT.reuse_interval - MILLISECOND)
    for _ in range(11):
        assert given(session.present(2)) == (Repeated, 2)
    assert given(session.present(1)) == (Resent, 2)
    session.clock.wait(MILLISECOND)
    assert given(session.present(2)) == (Rotated, 3)


def test_tabs_do_not_run_ahead_after_a_resend(start: StartSession) -> None:
    """While nobody has used it, a resend hands the generation out anew; afterwards it does not."""
    session = start()
    session.refresh(1)
    session.clock.wait(DEFAULT.reuse_interval - MILLISECOND)
    assert given(session.present(1)) == (Resent, 2)
    session.clock.wait(MILLISECOND)
    assert given(session.present(2)) == (Repeated, 2)
    session.clock.wait(DEFAULT.reuse_interval - 2 * MILLISECOND)
    assert given(session.present(1)) == (Resent, 2)
    session.clock.wait(MILLISECOND)
    assert given(session.present(2)) == (Rotated, 3)


def test_tabs_do_not_run_ahead_after_a_late_retry(start: StartSession) -> None:
    """A late retry hands the generation out anew: it lives for another reuse interval."""
    session = start()
    session.refresh(1)
    session.clock.wait(MINUTE)
    assert given(session.present(1)) == (RetriedLate, 2)
    session.clock.wait(DEFAULT.reuse_interval - MILLISECOND)
    assert given(session.present(2)) == (Repeated, 2)
    assert given(session.present(1)) == (Resent, 2)


# --- reuse ---------------------------------------------------------------------------------------


def test_a_grandparent_ends_the_family(start: StartSession) -> None:
    """Even a moment after its grandchild was made; no token of the family works any more."""
    session = start()
    session.refresh(1)
    session.refresh(2)
    assert given(session.present(1)) == (RefreshReuseDetected, 3)
    assert session.status() is Status.ENDING
    for gen in (1, 2, 3, 4):
        assert refused(session.present(gen)) is Reason.ENDED


def test_a_parent_whose_successor_was_used_ends_the_family(start: StartSession) -> None:
    """The answer was not lost, so that whoever asks after the interval is somebody else."""
    session = start()
    session.refresh(1)
    assert given(session.present(2)) == (Repeated, 2)
    session.clock.wait(DEFAULT.reuse_interval)
    assert given(session.present(1)) == (RefreshReuseDetected, 2)
    assert session.status() is Status.ENDING


def test_a_thief_in_lockstep_is_caught_at_the_fourth_generation(start: StartSession) -> None:
    """One late retry in each of three generations in a row is forgiven, and no more."""
    session = start()
    for gen in (1, 2, 3):
        session.refresh(gen)
        session.clock.wait(MINUTE)
        assert given(session.present(gen)) == (RetriedLate, gen + 1)
    session.refresh(4)
    session.clock.wait(MINUTE)
    assert given(session.present(4)) == (RefreshReuseDetected, 5)
    assert refused(session.present(5)) is Reason.ENDED


def test_reuse_is_reported_once(start: StartSession) -> None:
    """Whoever comes after gets the record with the refusal, to apply the end again."""
    session = start()
    session.refresh(1)
    session.refresh(2)
    assert isinstance(session.present(1), RefreshReuseDetected)
    again = session.present(1)
    assert refused(again) is Reason.ENDED
    assert again.family == session.get()


def test_both_windows_at_zero_give_strict_single_use(start: StartSession) -> None:
    """The first repetition of a token ends the family, even in the same millisecond."""
    session = start(STRICT)
    assert given(session.present(1)) == (Rotated, 2)
    assert given(session.present(2)) == (Rotated, 3)
    assert given(session.present(2)) == (RefreshReuseDetected, 3)


# --- a store that went back ----------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [1, 2, 1000])
def test_a_future_generation_ends_the_family_as_rollback(start: StartSession, ahead: int) -> None:
    """An authentic token that the store has not seen is the store's loss, not reuse."""
    session = start()
    session.refresh(1)
    assert given(session.present(2 + ahead)) == (RolledBack, 2)
    assert session.status() is Status.ENDING
    assert refused(session.present(2)) is Reason.ENDED


# --- what is not there, and what has ended -------------------------------------------------------


def test_a_missing_family_is_never_made_again(start: StartSession) -> None:
    """Neither its tokens nor a mark bring it back."""
    session = start()
    for status in Status:
        session.store.mark("ann", "gone", status)
        assert session.present(1, sid="gone") == Gone(Reason.UNKNOWN, None)
        assert session.get("gone") is None
    assert session.store.of_subject("ann") == [session.family]


def test_a_session_belongs_to_its_subject(start: StartSession) -> None:
    """Nobody else's token reaches it."""
    session = start()
    assert session.store.rotate("bob", "one", 1, credential_version=VERSION) == Gone(
        Reason.UNKNOWN, None
    )
    session.store.mark("bob", "one", Status.ENDED)
    assert session.store.get("bob", "one") is None
    assert session.status() is Status.LIVE


@pytest.mark.parametrize("end", [Status.ENDING, Status.ENDED])
def test_an_ended_family_never_lives_again(start: StartSession, end: Status) -> None:
    """Marks go forward only, and a repeated login's write changes nothing."""
    session = start()
    session.store.mark("ann", "one", end)
    for status in Status:
        session.store.mark("ann", "one", status)
        assert session.status() is not Status.LIVE
    assert session.log_in("one") == session.get()
    assert refused(session.present(1)) is Reason.ENDED
    assert session.status() is Status.ENDED


def test_ended_does_not_go_back_to_ending(start: StartSession) -> None:
    """Whoever comes late with the first step of an end does not undo the last."""
    session = start()
    session.store.mark("ann", "one", Status.ENDED)
    session.store.mark("ann", "one", Status.ENDING)
    assert session.status() is Status.ENDED


def test_a_live_family_cannot_be_marked_live(start: StartSession) -> None:
    """It changes nothing, its place among its subject's included."""
    session = start()
    session.store.mark("ann", "one", Status.LIVE)
    assert session.store.of_subject("ann") == [session.family]


def test_another_credential_version_is_refused(start: StartSession) -> None:
    """Older or newer: the family goes on only under the version that it was made with."""
    session = start()
    session.clock.wait(MINUTE)
    assert refused(session.present(1, version=VERSION + 1)) is Reason.VERSION
    assert refused(session.present(1, version=VERSION - 1)) is Reason.VERSION
    assert given(session.present(1)) == (Rotated, 2)


# --- ends ----------------------------------------------------------------------------------------


def test_the_absolute_end_is_exact(start: StartSession) -> None:
    """A token works to the last millisecond, and no refresh moves the end."""
    session = start()
    session.log_in("short", absolute=3600)
    session.clock.wait(3600 - MILLISECOND)
    assert given(session.present(1, sid="short")) == (Rotated, 2)
    session.clock.wait(MILLISECOND)
    assert refused(session.present(2, sid="short")) is Reason.ABSOLUTE


def test_the_idle_end_is_exact(start: StartSession) -> None:
    """A background refresh does not move it; SP 800-63B-4: it is no activity."""
    session = start()
    session.log_in("idle", idle=600)
    session.refresh(1, sid="idle")
    session.clock.wait(300 - MILLISECOND)
    assert given(session.present(2, sid="idle")) == (Rotated, 3)
    session.clock.wait(MILLISECOND)
    assert refused(session.present(3, sid="idle")) is Reason.IDLE


def test_activity_moves_the_idle_end(start: StartSession) -> None:
    """To the idle time after the moment at which the person did something."""
    session = start()
    made = session.log_in("idle", idle=600)
    session.clock.wait(500)
    family = session.present(1, sid="idle", active_ago=100).family
    assert family is not None
    assert family.idle_end == made.last_active + 400 + 600
    session.clock.wait(500 - MILLISECOND)
    assert given(session.present(2, sid="idle")) == (Rotated, 3)
    session.clock.wait(MILLISECOND)
    assert refused(session.present(3, sid="idle")) is Reason.IDLE


@pytest.mark.parametrize(("active_ago", "expected"), [(-1000.0, 500), (0.0, 500), (1e9, 0)])
def test_activity_is_neither_in_the_future_nor_before_what_is_known(
    start: StartSession, active_ago: float, expected: int
) -> None:
    """Whatever the client says."""
    session = start()
    session.clock.wait(500)
    family = session.present(1, active_ago=active_ago).family
    assert family is not None
    assert family.last_active == session.family.last_active + expected


# --- records and the index -----------------------------------------------------------------------


def test_a_new_family_is_what_the_login_fixed(start: StartSession) -> None:
    """And reads back the same."""
    session = start()
    family = session.log_in("two", idle=600)
    now = session.clock.ms / 1000
    assert family == Family(
        sub="ann",
        sid="two",
        client_id="web",
        credential_version=VERSION,
        gen=1,
        status=Status.LIVE,
        auth_time=int(now),
        amr=("pwd", "otp"),
        scope="read write",
        idle=600,
        last_active=now,
        last_refresh=now,
        absolute_end=int(now + 30 * DAY),
        label="phone",
        address="192.0.2.7",
        user_agent="Browser/1.0",
    )
    assert session.get("two") == family


def test_creating_again_finds_the_first(start: StartSession) -> None:
    """A retried write does not take a session back to generation 1."""
    session = start()
    session.refresh(1)
    assert session.log_in("one") == session.get()
    assert session.store.of_subject("ann") == [session.get()]


def test_a_family_whose_end_is_over_when_it_is_made_is_useless(start: StartSession) -> None:
    """A login that was held up for longer than its session lasts is an ordinary refusal later."""
    session = start()
    # An hour back, so that the end is over by a real server's clock too.
    family = session.log_in("late", idle=600, absolute=-3600)
    assert (family.sid, family.gen) == ("late", 1)
    assert refused(session.present(1, sid="late")) in {Reason.ABSOLUTE, Reason.UNKNOWN}
    assert session.get("late") is None
    assert session.store.of_subject("ann") == [session.family]
    bobs = session.log_in("late", sub="bob", absolute=-3600)
    assert bobs.sub == "bob"
    assert session.store.of_subject("bob") == []


def test_the_index_holds_the_live_families_of_one_subject(start: StartSession) -> None:
    """Oldest first; what ended in any way is no longer there."""
    session = start()
    for sid in ("two", "three", "four", "five", "six"):
        session.clock.wait(MINUTE)
        session.log_in(sid)
    session.log_in("one", sub="bob")
    assert [f.sid for f in session.store.of_subject("ann")] == [
        *("one", "two", "three", "four", "five", "six")
    ]
    session.store.mark("ann", "two", Status.ENDING)
    session.store.mark("ann", "three", Status.ENDED)
    session.present(9, sid="four")
    session.refresh(1, sid="five")
    session.refresh(2, sid="five")
    session.present(1, sid="five")
    assert [f.sid for f in session.store.of_subject("ann")] == ["one", "six"]
    assert [f.sub for f in session.store.of_subject("bob")] == ["bob"]
    assert session.store.of_subject("nobody") == []


def test_subjects_may_be_any_text(start: StartSession) -> None:
    """Ids of a directory are not ours to choose; none of them reaches another's sessions."""
    session = start()
    subjects = ["a:b", "a", "{x}", "{", "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}", "a b\n", "*"]
    for sub in subjects:
        session.log_in("same", sub=sub)
    for sub in subjects:
        assert [f.sub for f in session.store.of_subject(sub)] == [sub]


def test_a_store_that_works_answers(start: StartSession) -> None:
    """`ping` raises nothing."""
    start().store.ping()


# --- elevations ----------------------------------------------------------------------------------


def test_an_elevation_is_kept_and_taken_off_once(start: StartSession) -> None:
    """It comes back from every read and rotation; of those who take it off one is told so."""
    session = start()
    now = session.clock.ms // 1000
    raised = Elevation(until=now + 300, auth_time=now, amr=("pwd", "otp"), scope="pay", sub_ver=7)
    made = session.log_in("raised", elevation=raised)
    session.clock.wait(MINUTE)
    rotated = session.present(1, sid="raised").family
    assert made.elevation == session.get("raised").elevation == rotated.elevation == raised  # type: ignore[union-attr]
    assert [session.store.lower("ann", "raised") for _ in range(2)] == [True, False]
    lowered = session.get("raised")
    assert lowered is not None
    assert (lowered.elevation, lowered.scope, lowered.gen) == (None, "read write", 2)
    assert not session.store.lower("ann", "one")
    assert not session.store.lower("ann", "nobody's")
    assert session.get("nobody's") is None


@pytest.mark.parametrize(
    ("sub_ver", "later", "in_force"),
    [(7, 0, True), (7, 299, True), (7, 299.9, True), (7, 300, False), (8, 0, False)],
)
def test_an_elevation_is_in_force_until_its_end(
    start: StartSession, sub_ver: int, later: float, in_force: bool
) -> None:
    """To the moment, and while the account is of its version."""
    session = start()
    now = session.clock.ms // 1000
    raised = Elevation(until=now + 300, auth_time=now, amr=("pwd",), scope="", sub_ver=7)
    family = session.log_in("raised", elevation=raised)
    assert (family.elevated(sub_ver, now + later) == raised) is in_force
    assert session.family.elevated(sub_ver, now) is None
