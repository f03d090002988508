"""GET and DELETE /sessions."""

from __future__ import annotations

import pytest
from harness import stacks
from harness.issuer_app import ABSOLUTE, IDLE, IssuerApp, bearer, claims_of, granted, refused


def listed(issuer: IssuerApp, token: str) -> list[str]:
    """The sids of the caller's sessions."""
    return [session["sid"] for session in granted(issuer.sessions(token))["sessions"]]


def end(issuer: IssuerApp, token: str, sid: str = "") -> int:
    """DELETE one session, or all; the status."""
    path = f"/sessions/{sid}" if sid else "/sessions"
    return issuer.ask("DELETE", path, headers=bearer(token)).status_code


@stacks.everywhere
def test_a_person_sees_their_live_sessions_oldest_first(issuer: IssuerApp) -> None:
    """The list has every live session with its times, and marks the caller's."""
    start = int(issuer.clock())
    first = issuer.grant(label="Phone")
    issuer.clock.advance(100)
    second = issuer.grant()
    issuer.clock.advance(50)
    granted(issuer.refresh(first["refresh_token"], active_ago=20))
    sessions = granted(issuer.sessions(second["access_token"]))["sessions"]
    assert [session["sid"] for session in sessions] == [
        first["session"]["sid"],
        second["session"]["sid"],
    ]
    assert [session["current"] for session in sessions] == [False, True]
    assert sessions[0] == {
        "sid": first["session"]["sid"],
        "client_id": "demo",
        "label": "Phone",
        "address": "127.0.0.1",
        "user_agent": sessions[0]["user_agent"],
        "created": start,
        "last_active": start + 130,
        "last_refresh": start + 150,
        "idle_expires_in": IDLE - 20,
        "absolute_expires_in": ABSOLUTE - 150,
        "current": False,
    }


def test_nobody_sees_the_sessions_of_others(issuer: IssuerApp) -> None:
    """A list holds the caller's sessions only."""
    issuer.services.accounts.add("bob", "quite another phrase 17")
    issuer.grant(username="bob", password="quite another phrase 17")
    mine = issuer.grant()
    assert listed(issuer, mine["access_token"]) == [mine["session"]["sid"]]


def test_an_ended_session_leaves_the_list(issuer: IssuerApp) -> None:
    """Logged out, past the idle end, or ended from elsewhere: none of them is listed."""
    gone = issuer.grant()
    issuer.clock.advance(200)
    ended = issuer.grant()
    caller = issuer.grant(client_id="kiosk")
    granted(issuer.logout(ended["refresh_token"]))
    assert listed(issuer, caller["access_token"]) == [
        gone["session"]["sid"],
        caller["session"]["sid"],
    ]
    issuer.clock.advance(IDLE - 200)
    caller = granted(issuer.refresh(caller["refresh_token"]))
    assert listed(issuer, caller["access_token"]) == [caller["session"]["sid"]]


def test_a_session_that_only_the_journal_knows_as_ended_is_not_listed(issuer: IssuerApp) -> None:
    """SQL has the last word where the family still looks alive."""
    mine, other = issuer.grant(), issuer.grant()
    claims = issuer.opened(other["refresh_token"])
    from issuer.journal import Reason
    from revocation import Entry

    entry = Entry.session(claims.sid, int(issuer.clock()) + 1000)
    issuer.services.journal.append(entry, reason=Reason.OPERATOR, sub=claims.sub)
    assert listed(issuer, mine["access_token"]) == [mine["session"]["sid"]]


def test_a_person_ends_one_of_their_sessions(issuer: IssuerApp) -> None:
    """Ending one session from another refuses its tokens and no others."""
    mine, other = issuer.grant(), issuer.grant()
    assert end(issuer, mine["access_token"], other["session"]["sid"]) == 200
    refused(issuer.sessions(other["access_token"]), 401, "invalid_token")
    refused(issuer.refresh(other["refresh_token"]), 400, "invalid_grant")
    assert listed(issuer, mine["access_token"]) == [mine["session"]["sid"]]
    # Again, for whoever lost the answer.
    assert end(issuer, mine["access_token"], other["session"]["sid"]) == 200


def test_a_person_may_end_the_session_that_asks(issuer: IssuerApp) -> None:
    """One's own current session can be ended too."""
    mine = issuer.grant()
    assert end(issuer, mine["access_token"], mine["session"]["sid"]) == 200
    refused(issuer.refresh(mine["refresh_token"]), 400, "invalid_grant")


def test_nobody_ends_the_session_of_another(issuer: IssuerApp) -> None:
    """The sid of somebody else is answered like one that does not exist, and nothing ends."""
    issuer.services.accounts.add("bob", "quite another phrase 17")
    theirs = issuer.grant(username="bob", password="quite another phrase 17")
    mine = issuer.grant()
    assert end(issuer, mine["access_token"], theirs["session"]["sid"]) == 404
    assert end(issuer, mine["access_token"], "A" * 22) == 404
    assert granted(issuer.refresh(theirs["refresh_token"]))
    assert issuer.rows("journal") == []


@pytest.mark.parametrize("sid", ["x", "A" * 23, "%00" * 22, "..%2f..", "é" * 22, "A" * 4000])
@stacks.anywhere
def test_what_is_no_sid_is_not_found(issuer: IssuerApp, sid: str) -> None:
    """A path that no session can have is 404."""
    assert end(issuer, issuer.grant()["access_token"], sid) == 404


@stacks.everywhere
def test_logging_out_everywhere_ends_every_session(issuer: IssuerApp) -> None:
    """DELETE /sessions raises both versions once, however many sessions there are."""
    grants = [issuer.grant() for _ in range(3)]
    assert end(issuer, grants[0]["access_token"]) == 200
    for grant in grants:
        refused(issuer.sessions(grant["access_token"]), 401, "invalid_token")
        refused(issuer.refresh(grant["refresh_token"]), 400, "invalid_grant")
    (row,) = issuer.rows("journal")
    assert (row["kind"], row["level"], row["reason"]) == ("subject", 2, "logout_everywhere")
    fresh = issuer.grant()["access_token"]
    assert claims_of(fresh)["sub_ver"] == 2
    assert len(listed(issuer, fresh)) == 1
