"""Accounts, the journal of revocations, resets, disabled clients, lifetimes, the key ring."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("username", sa.String(320), nullable=False),
        sa.Column("password_hash", sa.String(512), nullable=False),
        sa.Column("credential_version", sa.BigInteger, nullable=False),
        sa.Column("sub_ver", sa.BigInteger, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("username"),
    )
    row_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "journal",
        sa.Column("id", row_id, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.String(512), nullable=False),
        sa.Column("level", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("kept_until", sa.BigInteger, nullable=False),
        sa.Column("sub", sa.String(64), nullable=True),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
    )
    op.create_index("ix_journal_kind_value", "journal", ["kind", "value"])
    op.create_index(
        "ix_journal_undone",
        "journal",
        ["id"],
        sqlite_where=sa.text("done = 0"),
        postgresql_where=sa.text("NOT done"),
    )
    op.create_index("ix_journal_expires", "journal", ["expires"])
    op.create_index("ix_journal_kept_until", "journal", ["kept_until"])
    op.create_table(
        "password_resets",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("credential_version", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_password_resets"),
    )
    op.create_index("ix_password_resets_account_id", "password_resets", ["account_id"])
    op.create_index("ix_password_resets_expires", "password_resets", ["expires"])
    op.create_table(
        "disabled_clients",
        sa.Column("client_id", sa.String(255), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("client_id", name="pk_disabled_clients"),
    )
    op.create_table(
        "access_lifetimes",
        sa.Column("seconds", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("in_force_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("seconds", name="pk_access_lifetimes"),
    )
    op.create_table(
        "key_rings",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("octets", sa.LargeBinary, nullable=False),
        sa.Column("written", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_key_rings"),
    )


def downgrade() -> None:
    for table in (
        "key_rings",
        "access_lifetimes",
        "disabled_clients",
        "password_resets",
        "journal",
        "accounts",
    ):
        op.drop_table(table)
    op.execute("DROP TABLE IF EXISTS alembic_version")
