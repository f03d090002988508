"""How many sessions one account may have."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import stacks
from harness.issuer_app import IssuerApp, bearer, claims_of, granted
from harness.limits import limits, log_in

from issuer.families import NewFamily
from issuer.journal import Reason
from issuer.limits.settings import LimitSettings
from issuer.sessions.cap import keep_within_cap
from revocation import DenylistUnavailable, Entry, Kind

Make = Callable[..., IssuerApp]
on_one_redis = pytest.mark.parametrize("stack", ["sqlite-redis"], indirect=True)


def sids(issuer: IssuerApp, access_token: str) -> set[str]:
    """The sessions that the person sees."""
    return {each["sid"] for each in granted(issuer.sessions(access_token))["sessions"]}


@stacks.both_stores
def test_the_session_longest_without_activity_makes_room(make_issuer: Make) -> None:
    """It ends for good: its refresh and its access token are worth nothing, at gateways too."""
    issuer = make_issuer(limits=limits(sessions=3))
    grants = []
    for _ in range(3):
        grants.append(granted(log_in(issuer)))
        issuer.clock.advance(20)
    # The oldest is the one that somebody works in.
    granted(issuer.refresh(grants[0]["refresh_token"], active_ago=0))
    grants.append(granted(log_in(issuer)))
    idle = grants[1]
    kept = {each["session"]["sid"] for each in grants if each is not idle}
    assert sids(issuer, grants[3]["access_token"]) == kept
    assert issuer.refresh(idle["refresh_token"]).status_code == 400
    assert issuer.sessions(idle["access_token"]).status_code == 401
    (row,) = [row for row in issuer.rows("journal") if row["reason"] == Reason.TOO_MANY]
    assert (row["value"], row["done"]) == (idle["session"]["sid"], True)
    for each in (grants[0], grants[2], grants[3]):
        assert issuer.refresh(each["refresh_token"]).status_code == 200


@pytest.mark.usefixtures("unhurried")
@on_one_redis
def test_twenty_logins_at_once_leave_no_more_than_the_cap(make_issuer: Make) -> None:
    """Whoever makes a session looks afterwards, so the last to look sees all."""
    cap = 5
    first = make_issuer(limits=limits(sessions=cap))
    second = make_issuer(limits=limits(sessions=cap), clock=first.clock)
    with ThreadPoolExecutor(20) as pool:
        # The hashes' queue has no place for twenty; what matters comes after the hash.
        answers = list(pool.map(lambda number: log_in((first, second)[number % 2]), range(20)))
    got = [answer.get_json() for answer in answers if answer.status_code == 200]
    assert len(got) > cap
    live = first.services.families.of_subject(first.account.id)
    assert 1 <= len(live) <= cap
    # Whoever is not among them was told of nothing that works.
    working = {grant["session"]["sid"] for grant in got if _works(first, grant["access_token"])}
    assert working == {family.sid for family in live}


def _works(issuer: IssuerApp, access_token: str) -> bool:
    return bool(issuer.sessions(access_token).status_code == 200)


@stacks.both_stores
@pytest.mark.parametrize("first_to_look", [0, 1])
def test_two_logins_at_once_do_not_end_each_other(make_issuer: Make, first_to_look: int) -> None:
    """Both were there before either looked: the later one is left, in whatever order they look."""
    issuer = make_issuer(limits=limits(sessions=1))
    families = issuer.services.families
    made = []
    for sid in "ab":
        now = int(issuer.clock())
        new = NewFamily(
            sub=issuer.account.id,
            sid=sid * 22,
            client_id="demo",
            credential_version=issuer.account.credential_version,
            auth_time=now,
            amr=("pwd",),
            scope="",
            idle=None,
            absolute_end=now + 600,
        )
        made.append(families.create(new))
        issuer.clock.advance(0.5)
    keep_within_cap(issuer.services, made[first_to_look])
    keep_within_cap(issuer.services, made[1 - first_to_look])
    assert [family.sid for family in families.of_subject(issuer.account.id)] == [made[1].sid]


@stacks.both_stores
def test_sessions_of_before_a_password_change_take_no_place(make_issuer: Make) -> None:
    """They have ended, whatever is left of their records."""
    issuer = make_issuer(limits=limits(sessions=2))
    grants = [granted(log_in(issuer)) for _ in range(2)]
    changed = granted(issuer.change_password(grants[0]["access_token"]))
    again = granted(issuer.login(password="an unlikely brass kettle 4417"))
    both = {changed["session"]["sid"], again["session"]["sid"]}
    assert sids(issuer, again["access_token"]) == both
    assert not [row for row in issuer.rows("journal") if row["reason"] == Reason.TOO_MANY]


@stacks.both_stores
def test_no_cap_is_no_cap(make_issuer: Make) -> None:
    """0 leaves every session; the default leaves a hundred."""
    issuer = make_issuer(limits=limits(sessions=0))
    grants = [granted(log_in(issuer)) for _ in range(4)]
    assert len(sids(issuer, grants[0]["access_token"])) == 4
    assert LimitSettings().sessions == 100


@stacks.both_stores
def test_an_end_that_is_cut_off_is_finished_by_the_next_login(
    make_issuer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The denylist is away when room is to be made: 503, and no more than the cap afterwards."""
    issuer = make_issuer(limits=limits(sessions=2))
    grants = [granted(log_in(issuer)) for _ in range(2)]
    with monkeypatch.context() as patch:

        def down(*_: object, **__: object) -> None:
            raise DenylistUnavailable("down")

        patch.setattr(issuer.services.denylist, "add", down)
        assert log_in(issuer).status_code == 503
    issuer.clock.advance(1)
    last = granted(log_in(issuer))
    assert issuer.undone() == []
    assert len(sids(issuer, last["access_token"])) <= 2
    states = [issuer.ask("GET", "/sessions", headers=bearer(g["access_token"])) for g in grants]
    assert 401 in [state.status_code for state in states]
    assert claims_of(last["access_token"])["sid"] in sids(issuer, last["access_token"])


@stacks.both_stores
def test_sessions_that_are_ended_twice_are_ended_once(make_issuer: Make) -> None:
    """Whom the journal has ended already is not counted, though its record still lives."""
    issuer = make_issuer(limits=limits(sessions=2))
    grants = [granted(log_in(issuer)) for _ in range(2)]
    sid = grants[1]["session"]["sid"]
    entry = Entry.session(sid, issuer.services.revoker.entry_expiry())
    issuer.services.revoker.revoke(entry, reason=Reason.OPERATOR)
    granted(log_in(issuer))
    assert issuer.refresh(grants[0]["refresh_token"]).status_code == 200
    assert len(issuer.services.journal.find(Kind.SESSION, sid)) == 1
