"""Who may log in: accounts, their passwords, and the two versions that only rise."""

from .account import (
    Account,
    Accounts,
    BadCredentials,
    Conflict,
    HashingBusy,
    InvalidReset,
    Standing,
    UnknownAccount,
    UsernameRefused,
    UsernameTaken,
)
from .passwords import PasswordHasher, PasswordPolicy, PasswordRefused
from .sql_accounts import SqlAccounts, normalise_username

__all__ = [
    "Account",
    "Accounts",
    "BadCredentials",
    "Conflict",
    "HashingBusy",
    "InvalidReset",
    "PasswordHasher",
    "PasswordPolicy",
    "PasswordRefused",
    "SqlAccounts",
    "Standing",
    "UnknownAccount",
    "UsernameRefused",
    "UsernameTaken",
    "normalise_username",
]
