"""What every family store promises, by the stories that the rules of rotation were made for."""

from __future__ import annotations

import pytest
from harness.family_session import DAY, MILLISECOND, MINUTE, StartSession, given, refused
from harness.rotation_machine import DEFAULT, FINITE, STRICT

from issuer.families import (
    Reason,
    RefreshReuseDetected,
    Repeated,
    Resent,
    RetriedLate,
    RolledBack,
    Rotated,
    Status,
)

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
