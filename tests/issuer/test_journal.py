"""The journal: every revocation is a row first, and an undone row is completed by somebody."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import stacks
from harness.issuer_app import IssuerApp, default_clients, granted, refused

from issuer.families import Status
from issuer.journal import Reason
from revocation import NEVER, DenylistUnavailable, Entry, Kind

SID = "A" * 22


def entry(issuer: IssuerApp, after: int = 1000) -> Entry:
    """A session's end whose denylist entry expires `after` seconds from now."""
    return Entry.session(SID, int(issuer.clock()) + after)


def test_a_row_is_what_was_journalled(issuer: IssuerApp) -> None:
    """A row gives back its entry, whose it is, why, and that it is not done."""
    journal = issuer.services.journal
    row_id = journal.append(entry(issuer), reason=Reason.OPERATOR, sub="somebody")
    (row,) = journal.get([row_id])
    assert (row.entry, row.sub, row.reason, row.done) == (
        entry(issuer),
        "somebody",
        "operator",
        False,
    )
    journal.mark_done(journal.get([row_id]), least_expires=0)
    assert [row.done for row in journal.get([row_id])] == [True]


@pytest.mark.parametrize(
    "made",
    [
        Entry.token("B" * 22, 2_000_000_000),
        Entry.session(SID, 2_000_000_000),
        Entry.subject("somebody", 7, 2_000_000_000),
        Entry.key("a kid"),
        Entry.client("demo", 1_700_000_000, 2_000_000_000),
    ],
    ids=lambda made: str(made.kind),
)
def test_every_kind_of_entry_is_journalled(issuer: IssuerApp, made: Entry) -> None:
    """Level and expiry of each kind survive, a key's "never" included."""
    journal = issuer.services.journal
    (row,) = journal.get([journal.append(made, reason=Reason.OPERATOR)])
    assert row.entry == made
    assert (row.entry.expires == NEVER) == (made.kind is Kind.KEY)
    assert made in [row.entry for row in journal.in_force()] or made.expires <= issuer.clock()


def test_an_ended_session_is_kept_for_the_longest_that_any_may_last(
    make_issuer: Callable[..., IssuerApp],
) -> None:
    """It may be older than the settings: whoever shortens them must not bring it back."""
    clients = default_clients()
    clients["demo"] |= {"absolute": 30 * 86_400, "idle": 30 * 86_400}
    before = make_issuer(clients=clients)
    session = before.grant()
    issuer = make_issuer()
    revoker, journal = issuer.services.revoker, issuer.services.journal
    revoker.end_session(None, session["session"]["sid"], reason=Reason.OPERATOR)
    issuer.clock.advance(30 * 86_400 - 1)
    journal.prune()
    refused(before.refresh(session["refresh_token"]), 400, "invalid_grant")


def test_undone_rows_come_oldest_first(issuer: IssuerApp) -> None:
    """Order and limit of what is left to do."""
    journal = issuer.services.journal
    ids = [journal.append(entry(issuer), reason=Reason.OPERATOR) for _ in range(5)]
    journal.mark_done(journal.get([ids[1]]), least_expires=0)
    assert [row.id for row in journal.undone()] == [ids[0], *ids[2:]]
    assert [row.id for row in journal.undone(limit=2)] == [ids[0], ids[2]]


def test_a_person_s_undone_rows_are_theirs(issuer: IssuerApp) -> None:
    """Rows about a person, or about their sessions and tokens, and nobody else's."""
    journal = issuer.services.journal
    expires = int(issuer.clock()) + 1000
    mine = [
        journal.append(Entry.subject("me", 2, expires), reason=Reason.ROLES),
        journal.append(Entry.session(SID, expires), reason=Reason.LOGOUT, sub="me"),
        journal.append(Entry.token("B" * 22, expires), reason=Reason.RFC7009, sub="me"),
    ]
    journal.append(Entry.subject("you", 2, expires), reason=Reason.ROLES)
    journal.append(Entry.session(SID, expires), reason=Reason.LOGOUT, sub="you")
    assert [row.id for row in journal.undone_of("me")] == mine
    journal.mark_done(journal.get(mine), least_expires=0)
    assert journal.undone_of("me") == []


def test_a_row_is_in_force_until_its_entry_expires(issuer: IssuerApp) -> None:
    """At its expiry an entry is no longer replayed."""
    journal = issuer.services.journal
    journal.append(entry(issuer, 100), reason=Reason.LOGOUT)
    issuer.clock.advance(99)
    assert len(journal.in_force()) == 1
    issuer.clock.advance(1)
    assert journal.in_force() == []


def test_a_session_s_end_is_remembered_until_its_absolute_end(issuer: IssuerApp) -> None:
    """Pruning keeps a session's row past its entry, and keeps what is not done for ever."""
    journal = issuer.services.journal
    now = int(issuer.clock())
    kept = journal.append(entry(issuer, 100), reason=Reason.LOGOUT, kept_until=now + 500)
    undone = journal.append(entry(issuer, 100), reason=Reason.LOGOUT)
    journal.mark_done(journal.get([kept]), least_expires=0)
    issuer.clock.advance(499)
    assert journal.prune() == 0
    issuer.clock.advance(1)
    assert journal.prune() == 1
    assert [row["id"] for row in issuer.rows("journal")] == [undone]


def test_a_row_is_never_kept_shorter_than_its_entry(issuer: IssuerApp) -> None:
    """`kept_until` before the entry's expiry is raised to it."""
    issuer.services.journal.append(entry(issuer, 100), reason=Reason.LOGOUT, kept_until=5)
    (row,) = issuer.rows("journal")
    assert row["kept_until"] == row["expires"]


def test_ended_sessions_are_known_by_their_sid(issuer: IssuerApp) -> None:
    """Of the sids asked about, those with an end in the journal."""
    journal = issuer.services.journal
    journal.append(entry(issuer), reason=Reason.LOGOUT, sub="me")
    journal.append(Entry.token("B" * 22, 2_000_000_000), reason=Reason.RFC7009, sub="me")
    assert journal.ended_among([SID, "B" * 22, "C" * 22]) == {SID}
    assert journal.ended_among([]) == frozenset()
    assert [row.entry.value for row in journal.find(Kind.SESSION, SID)] == [SID]


def test_an_entry_outlives_tokens_of_a_lifetime_that_was_in_force(issuer: IssuerApp) -> None:
    """A lifetime that has been shortened still counts until its last token has expired."""
    services = issuer.services
    margin = services.settings.entry_margin + 1
    services.journal.note_lifetime(1200, ahead=60)
    assert services.revoker.entry_expiry() == int(issuer.clock()) + 1200 + margin
    issuer.clock.advance(60 + 1199)
    assert services.journal.longest_lifetime() == 1200
    issuer.clock.advance(1)
    assert services.journal.longest_lifetime() == 0
    assert services.revoker.entry_expiry() == int(issuer.clock()) + 300 + margin


def test_a_noted_lifetime_only_moves_on(issuer: IssuerApp) -> None:
    """Noting a lifetime again extends it and never shortens it."""
    journal = issuer.services.journal
    for ahead in (500, 100, 500):
        journal.note_lifetime(1200, ahead=ahead)
    noted = {row["seconds"]: row["in_force_until"] for row in issuer.rows("access_lifetimes")}
    assert noted[1200] == int(issuer.clock()) + 500


def test_every_operation_leaves_its_rows_done(issuer: IssuerApp) -> None:
    """Whatever is acknowledged has reached the denylist."""
    issuer.revoke(issuer.grant()["access_token"])
    issuer.revoke(issuer.grant()["refresh_token"])
    issuer.logout(issuer.grant()["refresh_token"])
    granted(issuer.change_password(issuer.grant()["access_token"]))
    assert [row["reason"] for row in issuer.rows("journal")] == [
        "rfc7009",
        "rfc7009",
        "logout",
        "password_change",
    ]
    assert issuer.undone() == []


@pytest.mark.parametrize("step", ["ending", "denylist", "ended", "done"])
def test_a_revocation_cut_off_anywhere_is_completed(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A process that dies between any two steps leaves a row that the next one finishes."""
    services = issuer.services
    claims = issuer.opened(issuer.grant()["refresh_token"])

    class Died(Exception):
        pass

    def die(*args: object, **_: object) -> None:
        if step in {"denylist", "done"} or args[2] == step:
            raise Died
        mark(*args)

    mark = services.families.mark
    target, name = {
        "denylist": (services.denylist, "add"),
        "done": (services.journal, "mark_done"),
    }.get(step, (services.families, "mark"))
    with monkeypatch.context() as patch:
        patch.setattr(target, name, die)
        with pytest.raises(Died):
            services.revoker.end_session(claims.sub, claims.sid, reason=Reason.LOGOUT)
    assert issuer.undone() == ["logout"]
    assert services.revoker.complete_undone() == 1
    assert issuer.undone() == []
    family = services.families.get(claims.sub, claims.sid)
    assert family is not None
    assert family.status is Status.ENDED
    assert services.revoker.complete_undone() == 0


@stacks.anywhere
def test_a_late_process_marks_no_row_but_its_own(issuer: IssuerApp) -> None:
    """SQLite gives a pruned row's number again; who held the old row leaves the new one undone."""
    services = issuer.services
    now = int(issuer.clock())
    journal = services.journal
    old = journal.get([journal.append(Entry.session("A" * 22, now), reason=Reason.OPERATOR)])
    journal.mark_done(old, least_expires=0)
    assert journal.prune() == 1
    number = journal.append(Entry.session("B" * 22, now + 9), reason=Reason.OPERATOR)
    assert number == old[0].id
    journal.mark_done(old, least_expires=0)
    assert issuer.undone() == ["operator"]


def test_completing_stops_where_the_denylist_does_not_answer(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows stay undone while they cannot be pushed."""
    services = issuer.services
    services.journal.append(entry(issuer), reason=Reason.OPERATOR)

    def down(*_: object) -> None:
        raise DenylistUnavailable("down")

    monkeypatch.setattr(services.denylist, "add", down)
    with pytest.raises(DenylistUnavailable):
        services.revoker.complete_undone()
    assert issuer.undone() == ["operator"]
