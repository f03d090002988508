"""Accounts in SQL: one suite on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from harness.account_directory import EXPIRES, NEW, OLD, THIRD, change, entries
from harness.issuer_app import CHEAP_HASHING, MovableClock
from harness.processes import until
from hypothesis import given
from hypothesis import strategies as st

from issuer.accounts import (
    Account,
    BadCredentials,
    Conflict,
    PasswordHasher,
    PasswordPolicy,
    PasswordRefused,
    SqlAccounts,
    UnknownAccount,
    UsernameRefused,
    UsernameTaken,
)
from issuer.accounts.account import Standing
from issuer.accounts.sql_accounts import normalise_username
from issuer.clients import Clients
from issuer.database import DatabaseUnavailable, open_engine
from issuer.database.engine import writing
from issuer.database.tables import accounts as accounts_table
from issuer.journal import Journal, Reason
from revocation import Entry, Kind

STRONGER = {"time_cost": 2, "memory_cost": 16, "parallelism": 1, "concurrency": 2}


# Looking up


def test_an_account_is_found_as_it_was_made(directory: SqlAccounts, alice: Account) -> None:
    """By name and by id, with both versions at one and its roles in order."""
    assert directory.by_username("alice") == directory.by_id(alice.id) == alice
    assert (alice.credential_version, alice.sub_ver, alice.enabled) == (1, 1, True)
    assert alice.roles == ("admin", "staff")
    assert directory.by_username("bob") is None
    assert directory.by_id("nobody") is None
    assert directory.everyone() == [alice]


def test_an_account_shows_no_hash(alice: Account) -> None:
    """The hash is not part of an account's repr."""
    assert alice.password_hash not in repr(alice)


@pytest.mark.parametrize("spelling", ["ALICE", " alice\t", "\uff41lice"])
def test_spellings_of_a_name_are_one_account(
    directory: SqlAccounts, alice: Account, spelling: str
) -> None:
    """Case, compatibility forms and surrounding space do not make another name."""
    assert directory.by_username(spelling) == alice
    with pytest.raises(UsernameTaken):
        directory.add(spelling, NEW)


def test_letters_that_only_look_alike_are_other_names(
    directory: SqlAccounts, alice: Account
) -> None:
    """A Cyrillic a is another letter, and another account."""
    assert directory.add("\u0430lice", NEW).id != alice.id


@given(st.text(max_size=40))
def test_normalising_is_stable(name: str) -> None:
    """A normalised name is its own normal form, so that no name is out of reach."""
    once = normalise_username(name)
    assert normalise_username(once) == once


def test_the_right_password_gives_the_account(directory: SqlAccounts, alice: Account) -> None:
    """Authentication returns the row or raises, and changes nothing."""
    assert directory.authenticate("Alice", OLD) == alice
    for username, password in (("alice", NEW), ("bob", OLD), ("alice", "")):
        with pytest.raises(BadCredentials):
            directory.authenticate(username, password)
    assert directory.by_id(alice.id) == alice


def test_a_disabled_account_has_no_right_password(directory: SqlAccounts, alice: Account) -> None:
    """Disabled is refused like a wrong password, and works again when enabled."""
    directory.set_enabled(alice.id, False, expires=EXPIRES)
    with pytest.raises(BadCredentials):
        directory.authenticate("alice", OLD)
    directory.set_enabled(alice.id, True, expires=EXPIRES)
    assert directory.authenticate("alice", OLD).id == alice.id


def test_a_damaged_hash_lets_nobody_in(
    directory: SqlAccounts, engine: sa.Engine, alice: Account
) -> None:
    """A row whose hash is no hash is a wrong password, not an error."""
    with writing(engine) as connection:
        connection.execute(sa.update(accounts_table).values(password_hash="!"))
    with pytest.raises(BadCredentials):
        directory.authenticate("alice", OLD)


def test_standing_reads_account_session_and_client_at_once(
    directory: SqlAccounts, engine: sa.Engine, clock: MovableClock, alice: Account
) -> None:
    """One query says whether account, session and client may go on."""
    sid = "A" * 22
    standing = directory.standing(alice.id, sid=sid, client_id="demo", audience="api")
    assert standing == Standing(
        alice, session_ended=False, client_disabled=False, client_watermark=-1
    )
    Journal(engine, clock).append(Entry.session(sid, EXPIRES), reason=Reason.LOGOUT)
    # Another kind of entry of the same value is another thing.
    Journal(engine, clock).append(Entry.token("B" * 22, EXPIRES), reason=Reason.RFC7009)
    clients = Clients({}, engine, clock)
    for name, watermark in (("demo", 5), ("demo", 3), ("api", 9), ("other", 99)):
        clients.disable(name, watermark=watermark, expires=EXPIRES)
    standing = directory.standing(alice.id, sid=sid, client_id="demo", audience="api")
    assert standing == Standing(alice, session_ended=True, client_disabled=True, client_watermark=9)
    standing = directory.standing(alice.id, sid="B" * 22, client_id="kiosk", audience="api")
    assert standing == Standing(
        alice, session_ended=False, client_disabled=False, client_watermark=9
    )
    assert directory.standing("nobody", sid=sid, client_id="demo", audience="api").account is None


@pytest.mark.parametrize("name", ["", "   ", "x" * 321, "\ufdfa" * 20])
def test_a_name_has_a_length(directory: SqlAccounts, name: str) -> None:
    """An empty name, or one too long once it is normalised, is refused."""
    with pytest.raises(UsernameRefused):
        directory.add(name, OLD)
    assert directory.add("x" * 320, OLD).username == "x" * 320


# Passwords


def test_a_change_raises_both_versions_and_journals(
    directory: SqlAccounts, engine: sa.Engine, alice: Account
) -> None:
    """Hash, versions and journal row are written together."""
    changed = change(directory, alice)
    assert (changed.credential_version, changed.sub_ver) == (2, 2)
    assert changed == directory.by_id(alice.id)
    assert entries(engine) == [("subject", alice.id, 2, EXPIRES, False)]
    assert directory.authenticate("alice", NEW) == changed
    with pytest.raises(BadCredentials):
        directory.authenticate("alice", OLD)


def test_of_two_changes_from_one_read_one_wins(
    directory: SqlAccounts, engine: sa.Engine, alice: Account
) -> None:
    """The second finds nothing to write, journals nothing and says so."""
    change(directory, alice, NEW)
    with pytest.raises(Conflict):
        change(directory, alice, THIRD)
    assert directory.authenticate("alice", NEW)
    assert len(entries(engine)) == 1


def test_of_many_changes_at_once_one_wins(
    directory: SqlAccounts, engine: sa.Engine, alice: Account
) -> None:
    """Eight threads change one password from one read: one succeeds, seven conflict."""
    start = threading.Barrier(8)

    def attempt(number: int) -> str | None:
        start.wait(10)
        try:
            change(directory, alice, f"an unlikely brass kettle {number}{number}1")
        except Conflict:
            return None
        return f"an unlikely brass kettle {number}{number}1"

    with ThreadPoolExecutor(8) as pool:
        won = [password for password in pool.map(attempt, range(8)) if password]
    assert len(won) == 1
    assert directory.authenticate("alice", won[0]).credential_version == 2
    assert len(entries(engine)) == 1


def test_a_change_of_a_disabled_account_conflicts(directory: SqlAccounts, alice: Account) -> None:
    """Whoever was disabled after the read cannot set a password."""
    directory.set_enabled(alice.id, False, expires=EXPIRES)
    with pytest.raises(Conflict):
        change(directory, alice)


def test_a_refused_password_writes_nothing(
    directory: SqlAccounts, engine: sa.Engine, alice: Account
) -> None:
    """The rules are asked before anything is written."""
    with pytest.raises(PasswordRefused):
        change(directory, alice, "alice")
    with pytest.raises(PasswordRefused):
        directory.add("bob", "short")
    assert directory.everyone() == [alice]
    assert entries(engine) == []


def test_outdated_parameters_renew_the_hash_at_login(
    engine: sa.Engine, clock: MovableClock, alice: Account
) -> None:
    """A login under new parameters stores a new hash and raises no version."""
    stronger = SqlAccounts(engine, PasswordHasher(**STRONGER), PasswordPolicy(15), clock)
    stronger.authenticate("alice", OLD)
    renewed = stronger.by_id(alice.id)
    assert renewed is not None
    assert "m=16,t=2,p=1" in renewed.password_hash
    assert (renewed.credential_version, renewed.sub_ver) == (1, 1)
    stronger.authenticate("alice", OLD)
    assert stronger.by_id(alice.id) == renewed


@pytest.mark.parametrize("what", ["password", "disabled", "rehash"])
def test_a_rehash_is_dropped_when_the_row_has_changed(
    engine: sa.Engine,
    clock: MovableClock,
    alice: Account,
    directory: SqlAccounts,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    """A change between the check and the rehash stands; the old password never comes back."""
    hasher = PasswordHasher(**STRONGER)
    stronger = SqlAccounts(engine, hasher, PasswordPolicy(15), clock)
    hash_ = hasher.hash

    def overtaken(password: str) -> str:
        monkeypatch.setattr(hasher, "hash", hash_)
        if what == "password":
            change(directory, alice)
        elif what == "disabled":
            directory.set_enabled(alice.id, False, expires=EXPIRES)
        else:
            stronger.authenticate("alice", OLD)
        overtaking.append(directory.by_id(alice.id))
        return hash_(password)

    overtaking: list[Account | None] = []
    monkeypatch.setattr(hasher, "hash", overtaken)
    # The caller still gets what was read: its versions tell that the login came too late.
    assert stronger.authenticate("alice", OLD) == alice
    assert [directory.by_id(alice.id)] == overtaking


def test_versions_rise_for_everything_that_ends_access(
    directory: SqlAccounts, engine: sa.Engine, alice: Account
) -> None:
    """Log out everywhere, disabling and a lost role raise versions; gaining raises none."""

    def versions() -> tuple[int, int]:
        account = directory.by_id(alice.id)
        assert account is not None
        return account.credential_version, account.sub_ver

    directory.raise_versions(alice.id, expires=EXPIRES, reason="logout_everywhere")
    assert versions() == (2, 2)
    directory.set_roles(alice.id, ("admin",), expires=EXPIRES)
    assert versions() == (2, 3)
    assert directory.set_roles(alice.id, ("admin", "audit"), expires=EXPIRES) is None
    assert versions() == (2, 3)
    directory.set_enabled(alice.id, False, expires=EXPIRES)
    # Again: a retry must be able to finish the push.
    directory.set_enabled(alice.id, False, expires=EXPIRES)
    assert versions() == (4, 5)
    assert directory.set_enabled(alice.id, True, expires=EXPIRES) is None
    assert versions() == (4, 5)
    assert [level for _, _, level, _, _ in entries(engine)] == [2, 3, 4, 5]
    assert {kind for kind, *_ in entries(engine)} == {Kind.SUBJECT}


@pytest.mark.parametrize(
    "write",
    [
        lambda directory: directory.raise_versions("nobody", expires=0, reason="version"),
        lambda directory: directory.set_enabled("nobody", False, expires=0),
        lambda directory: directory.set_enabled("nobody", True, expires=0),
        lambda directory: directory.set_roles("nobody", (), expires=0),
    ],
)
def test_nobody_cannot_be_changed(
    directory: SqlAccounts, engine: sa.Engine, write: Callable[[SqlAccounts], object]
) -> None:
    """An id that no account has is an error, and nothing is journalled."""
    with pytest.raises(UnknownAccount):
        write(directory)
    assert entries(engine) == []


def test_a_role_that_is_given_meanwhile_is_not_lost_in_silence(
    directory: SqlAccounts, engine: sa.Engine, alice: Account
) -> None:
    """Setting roles counts as lost what a change that was not yet committed had given."""
    roles = ("admin", "staff")
    with ThreadPoolExecutor(1) as pool:
        with writing(engine) as connection:
            given = [*roles, "audit"]
            connection.execute(sa.update(accounts_table).values(roles=given))
            later = pool.submit(directory.set_roles, alice.id, roles, expires=EXPIRES)
            if engine.dialect.name == "postgresql":
                wait_for_a_waiting_lock(engine)
        later.result(10)
    account = directory.by_id(alice.id)
    assert account is not None
    assert (account.roles, account.sub_ver) == (("admin", "staff"), 2)


def wait_for_a_waiting_lock(engine: sa.Engine) -> None:
    """Return once some transaction waits for another one's row."""
    with engine.connect() as connection:
        for _ in until(10, "a transaction that waits"):
            if connection.scalar(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                return


# When the database does not answer


def test_a_database_that_is_gone_is_unavailable(
    clock: MovableClock, stack: tuple[str, str]
) -> None:
    """No driver's error leaves the directory, and its text names no address."""
    url = (
        "sqlite:////nonexistent-directory/issuer.db"
        if stack[0] == "sqlite"
        else "postgresql+psycopg://user:secret@127.0.0.1:1/issuer"
    )
    engine = open_engine(url)
    directory = SqlAccounts(engine, PasswordHasher(**CHEAP_HASHING), PasswordPolicy(15), clock)
    with pytest.raises(DatabaseUnavailable) as caught:
        directory.authenticate("alice", OLD)
    assert "secret" not in str(caught.value)
    assert "nonexistent" not in str(caught.value)
    with pytest.raises(DatabaseUnavailable):
        directory.add("alice", OLD)
    engine.dispose()
