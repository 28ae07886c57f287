"""A completeness map. An earlier release laid these without a revision: then they stay as they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """An empty map, unless there is one."""
    op.create_table(
        "map_head",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("idx", _LONG, nullable=False),
        sa.Column("schema_version", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1"),
        if_not_exists=True,
    )
    op.create_table(
        "map_subjects",
        sa.Column("label", sa.LargeBinary(), primary_key=True),
        sa.Column("count", _LONG, nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "map_pages",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("places", sa.LargeBinary(), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "map_tags",
        sa.Column("tag", sa.LargeBinary(), primary_key=True),
        sa.Column("label", sa.LargeBinary(), nullable=False),
        if_not_exists=True,
    )


def downgrade() -> None:
    """Made again from the log."""
    for name in ("map_tags", "map_pages", "map_subjects", "map_head"):
        op.drop_table(name)
