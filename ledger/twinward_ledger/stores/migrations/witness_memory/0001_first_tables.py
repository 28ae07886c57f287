"""What a log remembers of its witnesses, as releases laid it that did not number it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """What is missing; a file of an earlier release has it, or all but what vouches."""
    in_file = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "witnesses",
        sa.Column("key", _NAME, primary_key=True),
        sa.Column("size", _LONG, nullable=False),
        sa.Column("standing", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("since_ms", _LONG, nullable=False),
        sa.Column("at_ms", _LONG, nullable=False),
        sqlite_with_rowid=False,
        if_not_exists=in_file,
    )
    op.create_table(
        "vouched",
        sa.Column("one", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("changes", _LONG, nullable=False),
        sa.Column("since_ms", _LONG, nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("one = 1"),
        if_not_exists=in_file,
    )


def downgrade() -> None:
    """What was remembered is gone."""
    op.drop_table("vouched")
    op.drop_table("witnesses")
