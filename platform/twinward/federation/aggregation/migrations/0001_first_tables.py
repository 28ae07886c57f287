"""Answered rounds, as releases laid them that did not number them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is missing; a file of an earlier release has it."""
    op.create_table(
        "answers",
        sa.Column("study", sa.LargeBinary(), primary_key=True),
        sa.Column("round", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("masked", sa.LargeBinary(), nullable=True),
        sqlite_with_rowid=False,
        if_not_exists=op.get_bind().dialect.name == "sqlite",
    )


def downgrade() -> None:
    """Nobody would know any more what was answered."""
    op.drop_table("answers")
