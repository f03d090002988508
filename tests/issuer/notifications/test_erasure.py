"""A person's events are erased once those who must be told of them are, and little else is left."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import stacks
from harness.issuer_app import NEW_PASSWORD, PASSWORD, USERNAME, IssuerApp, default_clients
from harness.notified import event, states

from issuer.audit import EventKind
from issuer.audit.following import NotFollowed
from issuer.audit.place import Place
from issuer.database.tables import metadata
from issuer.journal import Reason
from issuer.notifications.queue import ENDING

pytestmark = stacks.anywhere
MakeIssuer = Callable[..., IssuerApp]


@pytest.fixture
def issuer(make_issuer: MakeIssuer) -> IssuerApp:
    """One with a relying party that wants to know, whose log has been followed up to here."""
    clients = default_clients()
    clients["demo"]["backchannel_logout_uri"] = "http://127.0.0.1:9/logout"
    issuer = make_issuer(clients=clients)
    issuer.services.audit.erase("nobody", "", patience=0.0)
    return issuer


def ended(issuer: IssuerApp) -> None:
    """The end of a session, in the log and not followed yet."""
    told = event(issuer, EventKind.SESSION_ENDED, sid="s" * 22, client_id="demo")
    issuer.services.audit.record(told)
    issuer.services.audit.flush()


def bodies(issuer: IssuerApp) -> int:
    """Events in the log about the person, that can be read."""
    found = issuer.services.audit.log.after(0, 10_000)
    return sum(one.event.sub == issuer.account.id for one in found)


def test_an_end_that_nobody_followed_yet_reaches_the_relying_party(issuer: IssuerApp) -> None:
    """Where no other process follows, the command does; then the events go."""
    ended(issuer)
    assert states(issuer) == []
    assert issuer.services.audit.erase(issuer.account.id, "", patience=0.0) >= 1
    assert ("logout:demo", "waiting", 0, "") in states(issuer)
    assert bodies(issuer) == 0


def test_nothing_is_erased_before_another_process_has_followed(issuer: IssuerApp) -> None:
    """That has the lease and comes no further; once it lets go, the erasure is done."""
    other = Place(issuer.services.engine, "notifications", issuer.clock)
    assert other.hold()
    ended(issuer)
    before = bodies(issuer)
    with pytest.raises(NotFollowed, match="notifications"):
        issuer.services.audit.erase(issuer.account.id, "", patience=0.2)
    assert bodies(issuer) == before > 0
    other.release()
    issuer.services.audit.erase(issuer.account.id, "", patience=0.0)
    assert ("logout:demo", "waiting", 0, "") in states(issuer)
    assert bodies(issuer) == 0


def test_a_session_that_goes_on_ends_before_everybody_s_eyes(issuer: IssuerApp) -> None:
    """An erasure ends no session, so the log still knows of it."""
    sid = issuer.grant()["session"]["sid"]
    issuer.services.audit.erase(issuer.account.id, "", patience=0.0)
    assert bodies(issuer) == 0
    issuer.services.revoker.end_session(
        issuer.account.id, sid, reason=Reason.OPERATOR, absolute_end=int(issuer.clock()) + 100
    )
    issuer.services.accounts.set_enabled(issuer.account.id, False, expires=0)
    issuer.services.audit.flush()
    ended = [one.event for one in issuer.services.audit.log.after(0, 10_000)]
    assert [event.sid for event in ended if event.kind is EventKind.SESSION_ENDED] == [sid]


STAYS = {
    "accounts": "the account itself",
    "audit_sessions": "a session that goes on, of whose end somebody has to be told",
    "journal": "what was revoked, until no token can be hit by it",
    "deliveries": "a logout that a relying party has to be told of",
}


def test_what_is_left_of_a_person_is_what_the_docs_say(issuer: IssuerApp) -> None:
    """The id, the name, the address and the browser stand nowhere else in the database."""
    agent = {"User-Agent": "Peculiar/1.0"}
    grant = issuer.grant(headers=agent)
    issuer.login(password="wrong", headers=agent)
    changed = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    bearer = {"Authorization": f"Bearer {grant['access_token']}"}
    answer = issuer.post("/password", changed, headers=agent | bearer)
    assert answer.status_code == 200
    audit, person = issuer.services.audit, issuer.account
    audit.erase(person.id, audit.account(USERNAME), patience=0.0)
    issuer.services.notifications.queue.erase(person.id)
    words = (person.id, USERNAME, "Peculiar", "127.0.0.1")
    left = {
        table
        for table in metadata.tables
        for row in issuer.rows(table)
        if any(word in str(value) for value in row.values() for word in words)
    }
    assert left == set(STAYS)
    (live,) = issuer.rows("audit_sessions")
    assert (live["address"], live["user_agent"]) == ("", "")
    assert {row["target"].partition(":")[0] for row in issuer.rows("deliveries")} <= set(ENDING)
