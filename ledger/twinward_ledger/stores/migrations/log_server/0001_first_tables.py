"""A log of one key. An earlier release laid these without a revision: then they stay as they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """An empty log, unless there is one."""
    if sa.inspect(op.get_bind()).has_table("log_head"):
        return
    op.create_table(
        "log_head",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("size", _LONG, nullable=False),
        sa.Column("schema_version", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1"),
    )
    op.execute("INSERT INTO log_head VALUES (1, 0, 1)")
    op.create_table(
        "log_leaves",
        sa.Column("idx", _LONG, primary_key=True, autoincrement=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "log_bodies",
        sa.Column("idx", _LONG, primary_key=True, autoincrement=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("tags", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "log_tags",
        sa.Column("tag", sa.LargeBinary(), primary_key=True),
        sa.Column("idx", _LONG, primary_key=True, autoincrement=False),
    )
    op.create_table(
        "log_tiles",
        sa.Column("id", _LONG, primary_key=True, autoincrement=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "log_checkpoints",
        sa.Column("size", _LONG, primary_key=True, autoincrement=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
    )


def downgrade() -> None:
    """Refused: a log is never taken away."""
    raise ValueError("a log never forgets")
