"""The journal holds what can still matter, and nothing for ever but revoked keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from harness import stacks
from harness.issuer_app import ABSOLUTE, NEW_PASSWORD, PASSWORD, IssuerApp, granted
from harness.limits import OFF

from issuer import journal as journal_module
from issuer.database.engine import writing
from issuer.journal import Reason, append_row
from issuer.parties import LONGEST_SESSION
from revocation import Entry, Kind

TIMES = 12


@pytest.fixture
def issuer(make_issuer: Callable[..., IssuerApp]) -> IssuerApp:
    """One without limits: here everything is done a dozen times."""
    return make_issuer(limits=OFF)


def logout(issuer: IssuerApp, _number: int) -> None:
    grant = issuer.grant()
    for _ in range(3):
        granted(issuer.logout(grant["refresh_token"]))


def reuse(issuer: IssuerApp, _number: int) -> None:
    grant = issuer.grant()
    fresh = grant
    for _ in range(2):
        issuer.clock.advance(11)
        fresh = granted(issuer.refresh(fresh["refresh_token"]))
    for _ in range(3):
        assert issuer.refresh(grant["refresh_token"]).status_code == 400


def token(issuer: IssuerApp, _number: int) -> None:
    access = issuer.grant()["access_token"]
    for _ in range(3):
        granted(issuer.revoke(access))


def password(issuer: IssuerApp, number: int) -> None:
    old, new = (PASSWORD, NEW_PASSWORD) if number % 2 == 0 else (NEW_PASSWORD, PASSWORD)
    grant = granted(issuer.login(password=old))
    granted(issuer.change_password(grant["access_token"], old, new))


def everywhere(issuer: IssuerApp, _number: int) -> None:
    from issuer.sessions.end import end_all

    end_all(issuer.services, sub=issuer.account.id)


def reset(issuer: IssuerApp, number: int) -> None:
    body = {"token": issuer.forgot(), "new_password": f"an unlikely brass kettle {number}"}
    granted(issuer.post("/password/reset", body))


def disabling(issuer: IssuerApp, _number: int) -> None:
    services = issuer.services
    for enabled in (False, True):
        change = services.accounts.set_enabled(
            issuer.account.id, enabled, expires=services.revoker.entry_expiry()
        )
        if change is not None:
            services.revoker.complete_id(change.journal_id)


def roles(issuer: IssuerApp, _number: int) -> None:
    services = issuer.services
    for given in (("staff",), ("admin", "staff")):
        change = services.accounts.set_roles(
            issuer.account.id, given, expires=services.revoker.entry_expiry()
        )
        if change is not None:
            services.revoker.complete_id(change.journal_id)


def client(issuer: IssuerApp, _number: int) -> None:
    services = issuer.services
    services.revoker.complete_id(
        services.clients.disable(
            "kiosk",
            watermark=int(issuer.clock()),
            expires=services.revoker.entry_expiry(),
        )
    )
    services.clients.enable("kiosk")


def key(issuer: IssuerApp, number: int) -> None:
    issuer.services.revoker.revoke(Entry.key(f"key-{number % 2}"), reason=Reason.KEY)


REVOCATIONS: dict[str, Callable[[IssuerApp, int], None]] = {
    "logout": logout,
    "reuse": reuse,
    "token": token,
    "password": password,
    "everywhere": everywhere,
    "reset": reset,
    "disabling": disabling,
    "roles": roles,
    "client": client,
    "key": key,
}


def prune(issuer: IssuerApp) -> None:
    """All that can go."""
    while issuer.services.journal.prune():
        pass


@stacks.both_databases
@pytest.mark.parametrize("kind", REVOCATIONS)
def test_what_has_expired_leaves_nothing_behind(issuer: IssuerApp, kind: str) -> None:
    """One row for each revocation however often it is asked for; after its time there is none."""
    for number in range(TIMES):
        REVOCATIONS[kind](issuer, number)
    rows = issuer.rows("journal")
    assert all(row["done"] for row in rows)
    assert len(rows) == (2 if kind == "key" else TIMES)
    prune(issuer)
    assert len(issuer.rows("journal")) == len(rows)
    # A client's sessions of before it was revoked must not refresh for as long as any may last.
    issuer.clock.advance((LONGEST_SESSION if kind == "client" else ABSOLUTE) + 1)
    prune(issuer)
    # A thief chooses his own `exp`, so a key stays revoked; once each, however often.
    left = Counter(row["kind"] for row in issuer.rows("journal"))
    assert left == ({Kind.KEY.value: 2} if kind == "key" else {})


@stacks.anywhere
@pytest.mark.parametrize("kind", ["logout", "reuse", "token", "key"])
def test_a_journal_that_forgets_what_it_holds_is_found_out(
    issuer: IssuerApp, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant writes a row each time it is asked."""
    monkeypatch.setattr("issuer.revoker._ONCE", frozenset())
    with pytest.raises(AssertionError, match=r"len\(|== \(2 if"):
        test_what_has_expired_leaves_nothing_behind(issuer, kind)


@stacks.both_databases
def test_reset_tokens_and_lifetimes_do_not_pile_up(issuer: IssuerApp) -> None:
    """One token an account, none once it has expired; one row for each lifetime."""
    for _ in range(TIMES):
        issuer.forgot()
    assert len(issuer.rows("password_resets")) == 1
    issuer.services.accounts.add("bob", PASSWORD)
    issuer.clock.advance(ABSOLUTE)
    issuer.forgot("bob")
    (row,) = issuer.rows("password_resets")
    assert row["account_id"] != issuer.account.id
    for _ in range(TIMES):
        issuer.clock.advance(60)
        for seconds in (60, 300):
            issuer.services.journal.note_lifetime(seconds, ahead=60)
    assert {row["seconds"] for row in issuer.rows("access_lifetimes")} >= {60, 300}
    assert len(issuer.rows("access_lifetimes")) <= 3


def fill(issuer: IssuerApp, count: int) -> None:
    """So many rows that have expired and been done."""
    now = int(issuer.clock())
    with writing(issuer.services.engine) as connection:
        for number in range(count):
            entry = Entry.session(f"{number:022d}", now)
            append_row(connection, entry, reason=Reason.LOGOUT, now=now)
        connection.execute(sa.text("UPDATE journal SET done = TRUE"))


@stacks.both_databases
def test_pruning_takes_a_bounded_number_at_a_time(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No transaction deletes more than a batch, however much has expired."""
    monkeypatch.setattr(journal_module, "PRUNE_BATCH", 10)
    fill(issuer, 25)
    assert [issuer.services.journal.prune() for _ in range(4)] == [10, 10, 5, 0]


@stacks.anywhere
def test_a_backlog_goes_one_batch_with_each_beat(
    issuer: IssuerApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Housekeeping goes on at the next beat, so that no heartbeat waits for it; then it rests."""
    monkeypatch.setattr(journal_module, "PRUNE_BATCH", 10)
    monkeypatch.setattr("issuer.pulse.PRUNE_BATCH", 10)
    uptime = [1000.0]
    pulse = issuer.make_pulse(access_lifetimes=frozenset({300}), clock=lambda: uptime[0])
    pulse.beat()
    fill(issuer, 25)
    left = []
    for passed in (1, 40, 1, 1, 1, 1):
        uptime[0] += passed
        issuer.clock.advance(1)
        pulse.beat()
        left.append(len(issuer.rows("journal")))
    assert left == [25, 15, 5, 0, 0, 0]
