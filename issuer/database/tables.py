"""The tables. Times are whole seconds since the epoch; Alembic's migrations build the same."""

from __future__ import annotations

import sqlalchemy as sa

SQL_FORMAT = 3
"""What this program knows; a migration raises it, and `formats` with it (CONTRIBUTING.md)."""

VERSION_TABLE = "schema_version"
"""Alembic's own. Its default is where 0.1.0 looks, and wants to find no revision but its own."""

FIRST_VERSION_TABLE = "alembic_version"

metadata = sa.MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
)

# SQLite numbers rows by itself only for a plain INTEGER key.
_RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("username", sa.String(320), nullable=False, unique=True),
    sa.Column("password_hash", sa.String(512), nullable=False),
    # Two counters that only rise: the first ends refreshes, the second access tokens.
    sa.Column("credential_version", sa.BigInteger, nullable=False),
    sa.Column("sub_ver", sa.BigInteger, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("roles", sa.JSON, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
)

# Every revocation is a row here before it is anything else.
journal = sa.Table(
    "journal",
    metadata,
    sa.Column("id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("value", sa.String(512), nullable=False),
    sa.Column("level", sa.BigInteger, nullable=False),
    # When the denylist's entry expires, and until when this row stays.
    sa.Column("expires", sa.BigInteger, nullable=False),
    sa.Column("kept_until", sa.BigInteger, nullable=False),
    # For a session: whose it is, so that its family can be ended too.
    sa.Column("sub", sa.String(64), nullable=True),
    sa.Column("reason", sa.String(32), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("done", sa.Boolean, nullable=False),
    # "Is this session ended", at every refresh; "what is undone", by the worker; "what is still
    # in force", for a replay; "what may go", for pruning.
    sa.Index("ix_journal_kind_value", "kind", "value"),
    sa.Index(
        "ix_journal_undone",
        "id",
        sqlite_where=sa.text("done = 0"),
        postgresql_where=sa.text("NOT done"),
    ),
    sa.Index("ix_journal_expires", "expires"),
    sa.Index("ix_journal_kept_until", "kept_until"),
)

password_resets = sa.Table(
    "password_resets",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(64), nullable=False, index=True),
    sa.Column("credential_version", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False, index=True),
)

disabled_clients = sa.Table(
    "disabled_clients",
    metadata,
    sa.Column("client_id", sa.String(255), primary_key=True),
    sa.Column("since", sa.BigInteger, nullable=False),
)

# Which access lifetimes have been in force, and until when at least: an entry must outlive the
# longest token that can still be out.
access_lifetimes = sa.Table(
    "access_lifetimes",
    metadata,
    sa.Column("seconds", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("in_force_until", sa.BigInteger, nullable=False),
)

# The key ring where several issuers share it: one row, encrypted.
key_rings = sa.Table(
    "key_rings",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("octets", sa.LargeBinary, nullable=False),
    sa.Column("written", sa.BigInteger, nullable=False),
)

# The furthest place in the denylist's feed that any issuer has acknowledged: one row, which only
# rises. A store that lacks it came back from the past.
denylist_positions = sa.Table(
    "denylist_positions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.String(64), nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("chain", sa.String(64), nullable=False),
)

# For each kind of record its present format, and the oldest that a program may know and still
# work with it: what lets an older issuer run beside a newer one during an upgrade.
formats = sa.Table(
    "formats",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("least", sa.Integer, nullable=False),
)

# --- the audit log ---

# Events that came with somebody's transaction, or alone; moved into the log within moments.
audit_outbox = sa.Table(
    "audit_outbox",
    metadata,
    sa.Column("id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("event", sa.Text, nullable=False),
)

# The log: each row's hash covers the one before. What was redacted keeps its place and its digest,
# and nothing else.
audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    # Milliseconds since the epoch, as are all of these columns a copy of what the body says.
    sa.Column("time", sa.BigInteger, nullable=True),
    sa.Column("event_id", sa.String(48), nullable=True, unique=True),
    sa.Column("kind", sa.String(32), nullable=True),
    sa.Column("outcome", sa.String(16), nullable=True),
    sa.Column("sub", sa.String(64), nullable=True),
    sa.Column("sid", sa.String(64), nullable=True),
    sa.Column("client_id", sa.String(255), nullable=True),
    sa.Column("address", sa.String(64), nullable=True),
    sa.Column("request_id", sa.String(64), nullable=True),
    # What is hashed, with a random salt, so that nobody guesses a redacted one from its digest.
    sa.Column("body", sa.Text, nullable=True),
    sa.Column("salt", sa.String(32), nullable=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    # Which secret the digest and the hash are keyed with.
    sa.Column("key", sa.String(16), nullable=False),
    sa.Index("ix_audit_log_time", "time"),
    sa.Index("ix_audit_log_kind_seq", "kind", "seq"),
    sa.Index("ix_audit_log_sub_seq", "sub", "seq"),
    sa.Index("ix_audit_log_sid_seq", "sid", "seq"),
    sa.Index("ix_audit_log_address_seq", "address", "seq"),
)

# Where the log ends, and from where on its rows are there: one row, locked by who appends.
audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("base_seq", sa.BigInteger, nullable=False),
    sa.Column("base_hash", sa.String(64), nullable=False),
)

# How far each follower of the log has come, and which process follows for it just now.
audit_places = sa.Table(
    "audit_places",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.String(32), nullable=False),
    sa.Column("held_until", sa.BigInteger, nullable=False),
)

# Sessions that have begun and of whose end the log does not tell yet.
audit_sessions = sa.Table(
    "audit_sessions",
    metadata,
    sa.Column("sid", sa.String(64), primary_key=True),
    sa.Column("sub", sa.String(64), nullable=False, index=True),
    sa.Column("client_id", sa.String(255), nullable=False),
    sa.Column("credential_version", sa.BigInteger, nullable=False),
    sa.Column("started", sa.BigInteger, nullable=False),
    sa.Column("last_seen", sa.BigInteger, nullable=False),
    # The idle or the absolute end, whichever is first.
    sa.Column("ends", sa.BigInteger, nullable=False, index=True),
    sa.Column("absolute", sa.BigInteger, nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("user_agent", sa.String(256), nullable=False),
)

# The key ring as the log knows it: a change is a difference from this.
audit_keys = sa.Table(
    "audit_keys",
    metadata,
    sa.Column("kid", sa.String(64), primary_key=True),
    sa.Column("alg", sa.String(32), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
)

# --- anomalies ---

# Sessions that are refreshed no more: their person proves anew who it is, in a session of its own.
reauthentications = sa.Table(
    "reauthentications",
    metadata,
    sa.Column("sid", sa.String(64), primary_key=True),
    sa.Column("sub", sa.String(64), nullable=False),
    sa.Column("rule", sa.String(32), nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("kept_until", sa.BigInteger, nullable=False, index=True),
)

# --- second factors ---

# Second factors. Of a passkey the public half is kept, of an authenticator app its secret, sealed.
factors = sa.Table(
    "factors",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("account_id", sa.String(64), nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("label", sa.String(64), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("last_used", sa.BigInteger, nullable=True),
    # Wrong codes in a row; the latest time step whose code was accepted.
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=True),
    sa.Column("last_step", sa.BigInteger, nullable=False),
    sa.Column("credential_id", sa.String(1400), nullable=True, unique=True),
    sa.Column("public_key", sa.LargeBinary, nullable=True),
    sa.Column("sign_count", sa.BigInteger, nullable=False),
    sa.Column("transports", sa.JSON, nullable=False),
    sa.Column("user_verified", sa.Boolean, nullable=False),
    sa.Column("synced", sa.Boolean, nullable=False),
)

# Digests of codes that are good for one login each; a spent one is gone.
recovery_codes = sa.Table(
    "recovery_codes",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(64), nullable=False, index=True),
)

# What has been begun and waits for an answer: enrolments and assertions, each answered once.
factor_challenges = sa.Table(
    "factor_challenges",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.String(64), nullable=False, index=True),
    sa.Column("purpose", sa.String(16), nullable=False),
    # An enrolment belongs to the session that has proved itself for it, and since when.
    sa.Column("sid", sa.String(64), nullable=True),
    sa.Column("auth_time", sa.BigInteger, nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=True),
    sa.Column("label", sa.String(64), nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False, index=True),
)

# --- the console ---

# How many revocations were in force at the beginning of a minute, for its time line.
denylist_sizes = sa.Table(
    "denylist_sizes",
    metadata,
    sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("entries", sa.BigInteger, nullable=False),
)

# What gateways said of their replicas, kept for an hour.
replica_readings = sa.Table(
    "replica_readings",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    # Milliseconds since the epoch.
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False, index=True),
    # JSON; null where the gateway did not answer.
    sa.Column("reading", sa.Text, nullable=True),
)

# --- notifications ---

# What is on its way to a receiver, or was; times in milliseconds since the epoch.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("target", sa.String(300), nullable=False),
    # What it is about: the event's id, or what else there is one of for each target.
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("sub", sa.String(64), nullable=True, index=True),
    # The event; nothing once it is delivered.
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    # Which also tells one lease from the next.
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    # When it is tried next, or was done.
    sa.Column("due", sa.BigInteger, nullable=False),
    sa.Column("gives_up", sa.BigInteger, nullable=False),
    sa.Column("error", sa.String(200), nullable=False),
    sa.UniqueConstraint("target", "key"),
    sa.Index(
        "ix_deliveries_waiting",
        "target",
        "due",
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    ),
    sa.Index(
        "ix_deliveries_gives_up",
        "gives_up",
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    ),
    sa.Index(
        "ix_deliveries_over",
        "due",
        sqlite_where=sa.text("state <> 'waiting'"),
        postgresql_where=sa.text("state <> 'waiting'"),
    ),
)
