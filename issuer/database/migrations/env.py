"""Alembic's entry: run by `gatepass migrate`, `gatepass serve` in development and the demo."""

from contextlib import nullcontext

import sqlalchemy as sa
from alembic import context

from issuer.database.tables import metadata

# Any fixed number: two processes that migrate at once take turns.
ADVISORY_LOCK = 7_061_202


def run() -> None:
    attributes = context.config.attributes
    # A restore migrates within its own transaction.
    given: sa.Connection | None = attributes["connection"]
    with nullcontext(given) if given is not None else attributes["engine"].begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            context.run_migrations()


run()
