"""Sums of groups of hospitals, and what officers decided about hospitals that these made suspect."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables."""
    op.create_table(
        "group_sums",
        sa.Column("study", sa.LargeBinary(), primary_key=True),
        sa.Column("round", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("members", sa.String(), nullable=False),
        sa.Column("total", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reviews",
        sa.Column("study", sa.LargeBinary(), primary_key=True),
        sa.Column("hospital", sa.String(), primary_key=True),
        sa.Column("quarantined", sa.Boolean(), nullable=False),
        sa.Column("officer", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at_ms", _LONG, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Studies in groups would have to begin anew."""
    op.drop_table("reviews")
    op.drop_table("group_sums")
