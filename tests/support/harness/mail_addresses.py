"""A directory that knows an address of one account: what `address_of` names in tests."""

from __future__ import annotations

from harness.issuer_app import USERNAME

from issuer.accounts import Account

ADDRESS = "alice+security@mail.example"


def of_account(account: Account) -> str | None:
    """Where to write to."""
    return ADDRESS if account.username == USERNAME else None
