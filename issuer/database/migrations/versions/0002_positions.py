"""The denylist's furthest position, and the formats that an older program must know.

Only adds, so that issuers of the version before go on working.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "denylist_positions",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("epoch", sa.String(64), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("chain", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_denylist_positions"),
    )
    formats = op.create_table(
        "formats",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("least", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_formats"),
    )
    op.bulk_insert(formats, [{"name": "sql", "version": 2, "least": 1}])
    # 0.1.0 looks here, and works only where it finds this. A migration that it could not work
    # with takes the table away.
    if not sa.inspect(op.get_bind()).has_table("alembic_version"):
        first = op.create_table(
            "alembic_version",
            sa.Column("version_num", sa.String(32), nullable=False),
            sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
        )
        op.bulk_insert(first, [{"version_num": "0001"}])


def downgrade() -> None:
    op.drop_table("formats")
    op.drop_table("denylist_positions")
