"""Tokens by which a forgotten password is reset: good once, for a while, for one credential."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from harness.account_directory import EXPIRES, NEW, THIRD, change, entries
from harness.issuer_app import MovableClock

from issuer.accounts import (
    Account,
    InvalidReset,
    PasswordRefused,
    SqlAccounts,
)
from issuer.accounts.sql_accounts import RESET_LIFETIME


def reset(directory: SqlAccounts, token: str, new: str = NEW) -> Account:
    """Spend a reset token."""
    return directory.reset_password(token, new, expires=EXPIRES).account


def ask(directory: SqlAccounts) -> str:
    """A reset token for alice."""
    made = directory.request_reset("Alice")
    assert made is not None
    return made[1]


def test_a_reset_token_is_good_once(
    directory: SqlAccounts, engine: sa.Engine, alice: Account
) -> None:
    """It sets the password, raises both versions, and is gone."""
    token = ask(directory)
    account = reset(directory, token)
    assert (account.credential_version, account.sub_ver) == (2, 2)
    assert directory.authenticate("alice", NEW) == account
    with pytest.raises(InvalidReset):
        reset(directory, token, THIRD)
    assert len(entries(engine)) == 1


def test_of_many_resets_by_one_token_one_wins(
    directory: SqlAccounts, engine: sa.Engine, alice: Account
) -> None:
    """Six threads spend one token: one password is set."""
    token = ask(directory)
    start = threading.Barrier(6)

    def attempt(number: int) -> int | None:
        start.wait(10)
        try:
            reset(directory, token, f"an unlikely brass kettle {number}{number}1")
        except InvalidReset:
            return None
        return number

    with ThreadPoolExecutor(6) as pool:
        won = [number for number in pool.map(attempt, range(6)) if number is not None]
    assert len(won) == 1
    assert directory.authenticate("alice", f"an unlikely brass kettle {won[0]}{won[0]}1")
    assert len(entries(engine)) == 1


def test_a_reset_token_expires(directory: SqlAccounts, clock: MovableClock, alice: Account) -> None:
    """At its expiry, to the second, a token is worth nothing, and the next request drops it."""
    token = ask(directory)
    clock.advance(RESET_LIFETIME)
    with pytest.raises(InvalidReset):
        reset(directory, token)
    token = ask(directory)
    clock.advance(RESET_LIFETIME - 1)
    assert reset(directory, token)


@pytest.mark.parametrize("overtaking", ["change", "reset", "versions", "disabled", "newer"])
def test_a_reset_token_is_overtaken(
    directory: SqlAccounts, alice: Account, overtaking: str
) -> None:
    """Whatever ends the sessions of an account ends its reset tokens too."""
    token = ask(directory)
    if overtaking == "change":
        change(directory, alice)
    elif overtaking == "reset":
        reset(directory, ask(directory))
    elif overtaking == "versions":
        directory.raise_versions(alice.id, expires=EXPIRES, reason="version")
    elif overtaking == "disabled":
        directory.set_enabled(alice.id, False, expires=EXPIRES)
        directory.set_enabled(alice.id, True, expires=EXPIRES)
    else:
        ask(directory)
    before = directory.by_id(alice.id)
    with pytest.raises(InvalidReset):
        reset(directory, token, THIRD)
    assert directory.by_id(alice.id) == before


def test_a_role_change_leaves_a_reset_token_usable(directory: SqlAccounts, alice: Account) -> None:
    """`sub_ver` alone does not touch it."""
    token = ask(directory)
    directory.set_roles(alice.id, (), expires=EXPIRES)
    assert reset(directory, token).roles == ()


def test_a_refused_password_leaves_a_reset_token_usable(
    directory: SqlAccounts, alice: Account
) -> None:
    """Too weak a choice may be made again."""
    token = ask(directory)
    with pytest.raises(PasswordRefused):
        reset(directory, token, "alice")
    assert reset(directory, token)


def test_nobody_gets_a_reset_token(directory: SqlAccounts, alice: Account) -> None:
    """An unknown and a disabled account get none."""
    assert directory.request_reset("bob") is None
    directory.set_enabled(alice.id, False, expires=EXPIRES)
    assert directory.request_reset("alice") is None


@pytest.mark.parametrize("token", ["", "x", "\0", "é" * 300])
def test_what_is_no_reset_token_is_refused(directory: SqlAccounts, token: str) -> None:
    """Any other text is an unknown token."""
    with pytest.raises(InvalidReset):
        reset(directory, token)
