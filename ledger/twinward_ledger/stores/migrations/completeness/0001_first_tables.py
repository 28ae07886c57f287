"""A completeness map in a file."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """An empty map."""
    op.create_table(
        "head",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("idx", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1"),
    )
    op.create_table(
        "subjects",
        sa.Column("label", sa.LargeBinary(), primary_key=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pages",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("places", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "tags",
        sa.Column("tag", sa.LargeBinary(), primary_key=True),
        sa.Column("label", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """It can be made again from the log and its keys."""
    for name in ("tags", "pages", "subjects", "head"):
        op.drop_table(name)
