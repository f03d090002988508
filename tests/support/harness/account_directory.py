"""What tests of accounts in SQL write, and what is journalled for it."""

from __future__ import annotations

import sqlalchemy as sa

from issuer.accounts import (
    Account,
    SqlAccounts,
)
from issuer.database.tables import journal as journal_table
from issuer.journal import Reason

OLD = "seven violet otters juggle 91"
NEW = "an unlikely brass kettle 4417"
THIRD = "one more unusual phrase 31"
EXPIRES = 1_900_000_000


def change(directory: SqlAccounts, read: Account, new: str = NEW) -> Account:
    """Change a password from what was read."""
    reason = str(Reason.PASSWORD_CHANGE)
    return directory.change_password(read, new, expires=EXPIRES, reason=reason).account


def entries(engine: sa.Engine) -> list[tuple[str, str, int, int, bool]]:
    """What has been journalled: kind, value, level, expiry, done."""
    columns = journal_table.c
    query = sa.select(columns.kind, columns.value, columns.level, columns.expires, columns.done)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query.order_by(columns.id))]
