"""Sums of periods, where a hospital added up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One table."""
    op.create_table(
        "outbreak_sum",
        sa.Column("period", sa.LargeBinary(), primary_key=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Whoever has all shares adds up again."""
    op.drop_table("outbreak_sum")
