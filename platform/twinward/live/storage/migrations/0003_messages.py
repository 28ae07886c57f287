"""Messages that are settled by their names, and who was merged into whom."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Both tables."""
    op.create_table(
        "live_message",
        sa.Column("tag", sa.LargeBinary(), primary_key=True),
        sa.Column("at_ms", _LONG, nullable=False, index=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "live_merger",
        sa.Column("tag", sa.LargeBinary(), primary_key=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """What was settled is forgotten."""
    op.drop_table("live_merger")
    op.drop_table("live_message")
