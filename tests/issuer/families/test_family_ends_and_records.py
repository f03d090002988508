"""What every family store promises of what is not there, of ends, and of its records."""

from __future__ import annotations

import pytest
from harness.family_session import DAY, MILLISECOND, MINUTE, VERSION, StartSession, given, refused

from issuer.families import Elevation, Family, Gone, Reason, Rotated, Status

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
