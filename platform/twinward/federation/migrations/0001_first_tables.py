"""The journal's tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs, questions, sums."""
    op.create_table(
        "runs",
        sa.Column("study", sa.LargeBinary(), primary_key=True),
        sa.Column("reservation", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "questions",
        sa.Column("study", sa.LargeBinary(), primary_key=True),
        sa.Column("question", sa.LargeBinary(), nullable=False),
        sa.Column("answers", sa.LargeBinary(), nullable=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sums",
        sa.Column("study", sa.LargeBinary(), primary_key=True),
        sa.Column("round", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("total", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Studies under way would have to begin anew."""
    for name in ("sums", "questions", "runs"):
        op.drop_table(name)
