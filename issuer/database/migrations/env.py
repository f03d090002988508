"""Alembic's entry: run by `gatepass migrate`, `gatepass serve` in development and the demo."""

from contextlib import nullcontext

import sqlalchemy as sa
from alembic import context

from issuer.database.engine import current_revision, is_known_revision
from issuer.database.tables import FIRST_VERSION_TABLE, VERSION_TABLE, metadata

# Any fixed number: two processes that migrate at once take turns.
ADVISORY_LOCK = 7_061_202


def run() -> None:
    attributes = context.config.attributes
    # A restore migrates within its own transaction.
    given: sa.Connection | None = attributes["connection"]
    with nullcontext(given) if given is not None else attributes["engine"].begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        found = current_revision(connection)
        if found is not None and not is_known_revision(found):
            return  # a newer program's, which knows better
        adopt_revision(connection)
        context.configure(
            connection=connection, target_metadata=metadata, version_table=VERSION_TABLE
        )
        with context.begin_transaction():
            context.run_migrations()


def adopt_revision(connection: sa.Connection) -> None:
    """Go on from where 0.1.0 kept its revision; what it finds there itself stays as it is."""
    tables = sa.inspect(connection).get_table_names()
    if VERSION_TABLE in tables or FIRST_VERSION_TABLE not in tables:
        return
    column = sa.Column("version_num", sa.String(32), primary_key=True)
    ours = sa.Table(VERSION_TABLE, sa.MetaData(), column)
    ours.create(connection)
    theirs = sa.table(FIRST_VERSION_TABLE, sa.column("version_num"))
    connection.execute(sa.insert(ours).from_select(["version_num"], sa.select(theirs)))


run()
