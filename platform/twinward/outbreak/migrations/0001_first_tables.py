"""Periods of daily counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Written out, not imported from the models: a revision stays what it was when the models move on.
_NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """What was agreed on, what was counted, who was."""
    op.create_table(
        "outbreak_period",
        sa.Column("period", sa.LargeBinary(), primary_key=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outbreak_day",
        sa.Column("period", sa.LargeBinary(), primary_key=True),
        sa.Column("day", sa.Integer(), primary_key=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outbreak_counted",
        sa.Column("period", sa.LargeBinary(), primary_key=True),
        sa.Column("patient", sa.LargeBinary(), primary_key=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """All of it goes."""
    for table in ("outbreak_counted", "outbreak_day", "outbreak_period"):
        op.drop_table(table)
