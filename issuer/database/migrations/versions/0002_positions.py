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


def downgrade() -> None:
    op.drop_table("formats")
    op.drop_table("denylist_positions")
