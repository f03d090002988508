"""What watches over sessions: the audit log and those that follow it.

Only adds, so that issuers of the version before go on working.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit_outbox",
        sa.Column("id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_outbox"),
    )
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=True),
        sa.Column("event_id", sa.String(48), nullable=True),
        sa.Column("kind", sa.String(32), nullable=True),
        sa.Column("outcome", sa.String(16), nullable=True),
        sa.Column("sub", sa.String(64), nullable=True),
        sa.Column("sid", sa.String(64), nullable=True),
        sa.Column("client_id", sa.String(255), nullable=True),
        sa.Column("address", sa.String(64), nullable=True),
        sa.Column("request_id", sa.String(64), nullable=True),
        sa.Column("body", sa.Text, nullable=True),
        sa.Column("salt", sa.String(32), nullable=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_log"),
        sa.UniqueConstraint("event_id"),
    )
    op.create_index("ix_audit_log_time", "audit_log", ["time"])
    for column in ("kind", "sub", "sid", "address"):
        op.create_index(f"ix_audit_log_{column}_seq", "audit_log", [column, "seq"])
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("base_seq", sa.BigInteger, nullable=False),
        sa.Column("base_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.create_table(
        "audit_places",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("held_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_audit_places"),
    )
    op.create_table(
        "audit_sessions",
        sa.Column("sid", sa.String(64), nullable=False),
        sa.Column("sub", sa.String(64), nullable=False),
        sa.Column("client_id", sa.String(255), nullable=False),
        sa.Column("credential_version", sa.BigInteger, nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("last_seen", sa.BigInteger, nullable=False),
        sa.Column("ends", sa.BigInteger, nullable=False),
        sa.Column("absolute", sa.BigInteger, nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("user_agent", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("sid", name="pk_audit_sessions"),
    )
    op.create_index("ix_audit_sessions_sub", "audit_sessions", ["sub"])
    op.create_index("ix_audit_sessions_ends", "audit_sessions", ["ends"])
    op.create_table(
        "audit_keys",
        sa.Column("kid", sa.String(64), nullable=False),
        sa.Column("alg", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("kid", name="pk_audit_keys"),
    )
    _add_factors()
    op.create_table(
        "reauthentications",
        sa.Column("sid", sa.String(64), nullable=False),
        sa.Column("sub", sa.String(64), nullable=False),
        sa.Column("rule", sa.String(32), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("kept_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sid", name="pk_reauthentications"),
    )
    op.create_index("ix_reauthentications_kept_until", "reauthentications", ["kept_until"])
    op.create_table(
        "denylist_sizes",
        sa.Column("minute", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("entries", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("minute", name="pk_denylist_sizes"),
    )
    op.create_table(
        "replica_readings",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("at", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("reading", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("name", "at", name="pk_replica_readings"),
    )
    op.create_index("ix_replica_readings_at", "replica_readings", ["at"])

    # --- notifications ---
    op.create_table(
        "deliveries",
        sa.Column("id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("target", sa.String(300), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("sub", sa.String(64), nullable=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("gives_up", sa.BigInteger, nullable=False),
        sa.Column("error", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("target", "key"),
    )
    op.create_index("ix_deliveries_sub", "deliveries", ["sub"])
    for name, columns, where in (
        ("ix_deliveries_waiting", ["target", "due"], "state = 'waiting'"),
        ("ix_deliveries_gives_up", ["gives_up"], "state = 'waiting'"),
        ("ix_deliveries_over", ["due"], "state <> 'waiting'"),
    ):
        op.create_index(
            name,
            "deliveries",
            columns,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )
    op.execute("UPDATE formats SET version = 3 WHERE name = 'sql'")


def _add_factors() -> None:
    op.create_table(
        "factors",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("last_used", sa.BigInteger, nullable=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=True),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("credential_id", sa.String(1400), nullable=True),
        sa.Column("public_key", sa.LargeBinary, nullable=True),
        sa.Column("sign_count", sa.BigInteger, nullable=False),
        sa.Column("transports", sa.JSON, nullable=False),
        sa.Column("user_verified", sa.Boolean, nullable=False),
        sa.Column("synced", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_factors"),
        sa.UniqueConstraint("credential_id"),
    )
    op.create_index("ix_factors_account_id", "factors", ["account_id"])
    op.create_table(
        "recovery_codes",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_recovery_codes"),
    )
    op.create_index("ix_recovery_codes_account_id", "recovery_codes", ["account_id"])
    op.create_table(
        "factor_challenges",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("sid", sa.String(64), nullable=True),
        sa.Column("auth_time", sa.BigInteger, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=True),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_factor_challenges"),
    )
    op.create_index("ix_factor_challenges_account_id", "factor_challenges", ["account_id"])
    op.create_index("ix_factor_challenges_expires", "factor_challenges", ["expires"])


def downgrade() -> None:
    op.execute("UPDATE formats SET version = 2 WHERE name = 'sql'")
    for table in (
        "reauthentications",
        "factor_challenges",
        "recovery_codes",
        "factors",
        "replica_readings",
        "denylist_sizes",
        "deliveries",
        "audit_keys",
        "audit_sessions",
        "audit_places",
        "audit_head",
        "audit_log",
        "audit_outbox",
    ):
        op.drop_table(table)
